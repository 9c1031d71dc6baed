//! The meter: which sizes are under management when, from the logs, and records of who did what.

mod audit;
mod bill;
mod live;
mod mend;
pub(crate) mod past;
mod reads;
pub(crate) mod record;
mod recording;
mod replay;
mod seal;
mod series;
mod usage;

pub use self::audit::{AuditOptions, Audited, Break, Verifier};
pub use self::bill::{Billed, MONTH, Price, gb_months, tb_months};
pub use self::reads::Reads;
pub use self::record::Record;
pub use self::series::{ByteSeconds, Period, Series, Sizes, Three};
pub use self::usage::{NamespaceUsage, RepoUsage, Usage};
