//! The sums of a statement: what every namespace and repository took, and what that costs.

use std::collections::BTreeMap;
use std::ops::Range;

use at1w_registry::{
    Billed, ByteSeconds, MONTH, Price, Reads, Series, Sizes, Three, Usage, gb_months, show_time,
    tb_months,
};
use serde::{Serialize, Serializer};

use crate::failure::Result;

/// What is billed, and at which price.
pub(crate) struct Terms {
    pub(crate) billed: Billed,
    /// The price of a terabyte for a month, as it was written; empty where nothing is billed.
    pub(crate) price: String,
    pub(crate) currency: String,
}

/// A statement. Its fields are those of `--json`.
#[derive(Serialize)]
pub(crate) struct Statement {
    pub(super) store: String,
    pub(super) time: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) month_seconds: u64,
    pub(super) billed: Billed,
    pub(super) price: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) total: Line,
    pub(super) faults: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Namespace {
    #[serde(flatten)]
    pub(super) line: Line,
    pub(super) repositories: Vec<Line>,
}

/// What a namespace or a repository took.
#[derive(Serialize)]
pub(super) struct Line {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    pub(super) logical_bytes: u64,
    pub(super) unique_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) byte_seconds: ByteSeconds,
    pub(super) min: Sizes,
    pub(super) mean: Sizes,
    pub(super) max: Sizes,
    pub(super) end: Sizes,
    pub(super) gb_months: Three<Decimal>,
    pub(super) tb_months: Three<Decimal>,
    pub(super) amount: Option<String>,
    /// Reads are counted, and cost nothing.
    pub(super) requests: u64,
    pub(super) sent_bytes: u64,
}

/// A number with a point, which JSON has as a number.
#[derive(Clone)]
pub(super) struct Decimal(pub(super) String);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0.parse().unwrap_or_default())
    }
}

impl Statement {
    /// Makes the statement of a period, which is in seconds since 1970.
    pub(crate) fn new(
        store: &str,
        now: u64,
        period: Range<u64>,
        usage: &Usage,
        reads: &BTreeMap<String, Reads>,
        terms: Terms,
    ) -> Result<Self> {
        let price = match terms.price.as_str() {
            "" => None,
            price => Some(Price::parse(price)?),
        };
        let line = |name: &str, series: &Series, reads: Reads| {
            let over = series.over(period.clone());
            let now = series.end();
            let billed = terms.billed.of(over.byte_seconds);
            Ok::<_, at1w_registry::Error>(Line {
                name: name.into(),
                logical_bytes: now.logical,
                unique_bytes: now.unique,
                stored_bytes: now.stored,
                byte_seconds: over.byte_seconds,
                min: over.min,
                mean: over.mean,
                max: over.max,
                end: over.end,
                gb_months: over.byte_seconds.map(|sum| Decimal(gb_months(sum))),
                tb_months: over.byte_seconds.map(|sum| Decimal(tb_months(sum))),
                amount: price.map(|price| price.amount(billed)).transpose()?,
                requests: reads.requests,
                sent_bytes: reads.sent,
            })
        };
        let read = |wanted: &dyn Fn(&str) -> bool| {
            let mut sum = Reads::default();
            for (_, reads) in reads.iter().filter(|(repo, _)| wanted(repo)) {
                sum.requests += reads.requests;
                sum.sent += reads.sent;
            }
            sum
        };
        let mut namespaces = Vec::new();
        for namespace in &usage.namespaces {
            let folder = format!("{}/", namespace.name);
            let reads = read(&|repo| repo.starts_with(&folder));
            let repositories = namespace
                .repos
                .iter()
                .map(|repo| line(&repo.name, &repo.series, read(&|name| name == repo.name)));
            let repositories = repositories.collect::<Result<_, _>>()?;
            let line = line(&namespace.name, &namespace.series, reads)?;
            namespaces.push(Namespace { line, repositories });
        }
        let named = |repo: &str| {
            usage.namespaces.iter().any(|namespace| repo.split('/').next() == Some(&namespace.name))
        };
        let mut total = line("", &usage.total(), read(&named))?;
        // A bill is the sum of what it lists.
        if price.is_some() {
            let amounts = namespaces.iter().filter_map(|namespace| namespace.line.amount.as_ref());
            total.amount = Some(sum(amounts.map(String::as_str)));
        }
        Ok(Self {
            store: store.into(),
            time: show_time(now),
            from: show_time(period.start),
            to: show_time(period.end),
            month_seconds: MONTH,
            billed: terms.billed,
            currency: price.map(|_| terms.currency),
            price: price.map(|_| terms.price),
            namespaces,
            total,
            faults: usage.faults.clone(),
        })
    }

    /// Returns the lines in order, each with the name of its namespace and whether it is one of a
    /// repository.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, bool, &Line)> {
        self.namespaces.iter().flat_map(|namespace| {
            let name = namespace.line.name.as_str();
            let repositories = namespace.repositories.iter().map(move |line| (name, true, line));
            std::iter::once((name, false, &namespace.line)).chain(repositories)
        })
    }

    /// Returns an amount with its currency.
    pub(super) fn shown(&self, amount: &str) -> String {
        let currency = self.currency.as_deref().unwrap_or_default();
        format!("{amount} {currency}").trim_end().to_owned()
    }
}

/// Adds up amounts of two digits after the point.
fn sum<'a>(amounts: impl Iterator<Item = &'a str>) -> String {
    let cents = |amount: &str| amount.replace('.', "").parse::<u128>().unwrap_or_default();
    let sum: u128 = amounts.map(cents).sum();
    format!("{}.{:02}", sum / 100, sum % 100)
}
