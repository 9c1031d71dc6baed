//! A hub of models over a store: clients of the Hugging Face protocol push and pull unchanged, and
//! every byte is verified before it leaves.
//!
//! [`serve`] runs a server over an [`at1w_registry::Store`]; it keeps no state of its own, so
//! several can serve one store. [`Tokens`] manages who may do what. `docs/REGISTRY.md` has the
//! configuration.

mod access;
mod address;
mod allowance;
mod audit;
mod background;
mod base_queue;
mod body;
mod cache;
mod call;
mod claim;
mod commit;
mod config;
mod differences;
mod drain;
mod error;
mod files;
mod hub;
mod keep;
mod lfs;
mod listing;
mod manage;
mod memory;
mod metrics;
mod mirror;
mod own;
mod owner;
mod packed;
mod packed_form;
mod page;
mod patient;
mod pulls;
mod random;
mod rate;
mod reads;
mod revision;
mod route;
mod scrub;
mod scrubbed;
mod send;
mod serve;
mod session;
mod sign;
mod signed;
mod staging;
mod sweep;
mod tls;
mod token;
mod upkeep;
mod usage;
mod work;
mod xet;

pub use self::config::{
    Anonymous, Config, Differences, Limits, LogForm, Meter, Metrics, Mirror, Scrub, SignWith,
    Signatures, Tls,
};
pub use self::error::{Error, Result};
pub use self::serve::serve;
pub use self::token::{Listed, NewToken, Role, Token, Tokens};
#[doc(hidden)]
pub use self::xet::parse as parse_upload;
