//! Measures model weights: how small they become, that every byte comes back, how fast, and what
//! that is worth. The result is a [`Report`], and a [`page`] of it for people.
//!
//! [`measure`] leads: `source` lists files, and `elsewhere` those of stores and addresses; `whole`
//! packs one, and `read_back` decodes and compares it, or `sample` does so with chunks that stand
//! for all; `fetch` reads single tensors, `rival` runs other compressors, `statistics` looks at the
//! weights themselves, `families` finds tensors that several files have, and `versions` estimates
//! what is saved by storing files as differences to others. A [`FileResult`] is all that is known
//! of a file, and the report is made of these.

mod compare;
mod elsewhere;
mod families;
mod fault;
mod fetch;
mod groups;
mod journal;
mod kind;
mod machine;
mod others;
pub mod page;
mod place;
mod poor;
mod price;
mod read_back;
mod report;
mod result;
mod rival;
mod run;
mod sample;
mod source;
mod statistics;
mod totals;
mod versions;
mod whole;
mod zipnn;

pub use self::families::{Families, Family};
pub use self::fault::Fault;
pub use self::fetch::Fetch;
pub use self::journal::journal_of;
pub use self::kind::Kind;
pub use self::machine::Machine;
pub use self::others::Others;
pub use self::poor::Poor;
pub use self::price::{Money, ParsePriceError, Price};
pub use self::report::{Fetched, Report, Whole};
pub use self::result::{FileResult, Group, LevelResult, TensorResult};
pub use self::rival::Rival;
pub use self::run::{Options, measure};
pub use self::sample::{Choice, Sample};
pub use self::source::{SourceFile, Sources};
pub use self::statistics::{entropy, exponents};
pub use self::totals::{DtypeRow, Exponents, KindRow, LevelRow, ModelRow, Total};
pub use self::versions::{Version, Versions};
