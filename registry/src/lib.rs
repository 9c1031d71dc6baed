//! A store of model repositories: every tensor once, every revision whole or absent, in a directory
//! or a bucket, with no database.
//!
//! [`Store::push`] makes a commit of files, and [`Store::pull`] gives them back byte for byte.
//! Nothing is ever overwritten: objects are made under names that are used once, and the collector
//! ([`Store::collect`]) deletes what nothing names any more. `docs/REGISTRY.md` has the layout.

mod bases;
mod change;
mod check;
mod checkpoint;
mod collect;
mod content;
mod copy;
mod entry;
mod error;
pub mod exchange;
mod fence;
#[doc(hidden)]
pub mod fuzzing;
mod grounds;
mod hexadecimal;
mod history;
mod index;
mod keys;
mod lease;
mod log;
mod mark;
mod mend;
mod meter;
mod name;
mod original;
mod outline;
mod packs;
mod proposal;
mod propose;
mod prove;
mod pull;
mod push;
mod rebase;
mod recall;
mod recipe;
mod record;
mod refs;
mod relocate;
mod rename;
mod repack;
mod repair;
mod replica;
mod scrub;
mod sets;
mod stage;
mod stats;
mod store;
mod stored_file;
mod sum;
mod tensors;
mod time;
mod tree;
mod view;
mod walk;

pub use self::change::Change;
pub use self::check::Checked;
pub use self::collect::{CollectOptions, Collected};
pub use self::content::hash;
pub use self::copy::Copied;
pub use self::entry::{Action, Commit, Entry, Proposal, Ref, State, Status};
pub use self::error::{Error, Result};
pub use self::meter::{
    AuditOptions, Audited, Billed, Break, ByteSeconds, MONTH, NamespaceUsage, Period, Price, Reads,
    Record, RepoUsage, Series, Sizes, Three, Usage, Verifier, gb_months, tb_months,
};
pub use self::name::{
    MAIN, RepoName, Revision, check_name, check_namespace, check_path, check_ref,
};
pub use self::original::Original;
pub use self::outline::{Outline, StoredTensor, pack_outline, tensor_keys};
pub use self::proposal::{proposal_branch, proposal_number};
pub use self::pull::{Files, PullOptions, Pulled, lay_down};
pub use self::push::{Expected, PushOptions, Pushed, Signer, signed_tree};
pub use self::record::{ScrubRecord, ScrubStatement};
pub use self::repack::Repacked;
pub use self::repair::Repaired;
pub use self::scrub::{Damage, ScrubOptions, Scrubbed};
pub use self::stats::Summary;
pub use self::store::{Store, Times};
pub use self::tensors::{TensorEntry, tensors_of};
pub use self::time::{month_begin, parse_time, show_time};
pub use self::tree::{File, Tree};
pub use self::walk::{Source, SourceFile, walk};
