//! What usage costs: exact, in whole numbers.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::meter::series::ByteSeconds;

/// The seconds of a month: the twelfth part of 365 days.
pub const MONTH: u64 = 365 * 24 * 3600 / 12;

/// The bytes of a terabyte.
const TB: u128 = 1_000_000_000_000;

/// The parts of the unit of a currency that prices are counted in.
const PARTS: u128 = 1_000_000;

/// The parts of it that amounts are counted in.
const CENTS: u128 = 100;

/// The size that is billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Billed {
    /// The length of originals, in each revision.
    Logical,
    /// The length of originals, each once.
    #[default]
    Unique,
    /// The length of what is stored.
    Stored,
}

impl Billed {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logical => "logical",
            Self::Unique => "unique",
            Self::Stored => "stored",
        }
    }

    /// Returns the one of three values that is billed.
    pub fn of(self, sums: ByteSeconds) -> u128 {
        match self {
            Self::Logical => sums.logical,
            Self::Unique => sums.unique,
            Self::Stored => sums.stored,
        }
    }
}

/// The price of a terabyte for a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price(u64);

impl Price {
    /// Parses a number with up to six digits after the point.
    ///
    /// # Errors
    /// [`Error::Unfit`] for another text.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            let problem = "is no price: write a number with up to six digits after the point";
            Error::Unfit(format!("{text:?} {problem}"))
        };
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 6 || whole.len() > 12 {
            return Err(wrong());
        }
        let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        Ok(Self(whole * PARTS as u64 + part))
    }

    /// Returns what bytes cost for seconds, with two digits after the point, rounded half up.
    ///
    /// # Errors
    /// [`Error::Unfit`] for an amount that no number here can hold.
    pub fn amount(self, byte_seconds: u128) -> Result<String> {
        let unit = TB * u128::from(MONTH) * (PARTS / CENTS);
        let cost = byte_seconds.checked_mul(u128::from(self.0));
        let cost = cost.and_then(|cost| cost.checked_add(unit / 2)).map(|cost| cost / unit);
        let cents = cost.ok_or_else(|| Error::Unfit("the amount is too large".into()))?;
        Ok(format!("{}.{:02}", cents / CENTS, cents % CENTS))
    }
}

/// Returns bytes times seconds as gigabytes times months, with six digits after the point.
pub fn gb_months(byte_seconds: u128) -> String {
    scaled(byte_seconds, TB / 1000)
}

/// Returns bytes times seconds as terabytes times months, with six digits after the point.
pub fn tb_months(byte_seconds: u128) -> String {
    scaled(byte_seconds, TB)
}

fn scaled(byte_seconds: u128, unit: u128) -> String {
    let part = unit * u128::from(MONTH) / 1_000_000;
    let parts = byte_seconds.saturating_add(part / 2) / part;
    format!("{}.{:06}", parts / 1_000_000, parts % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let month = u128::from(MONTH);
        let price = Price::parse("20").unwrap();
        assert_eq!(price.amount(TB * month).unwrap(), "20.00");
        assert_eq!(price.amount(1_500 * TB * month).unwrap(), "30000.00");
        assert_eq!(price.amount(0).unwrap(), "0.00");
        // Half a cent, and a byte-second less.
        let half = TB * month / 4_000;
        assert_eq!(price.amount(half).unwrap(), "0.01");
        assert_eq!(price.amount(half - 1).unwrap(), "0.00");
        assert_eq!(Price::parse("0.000001").unwrap().amount(TB * month * 10_000).unwrap(), "0.01");
        assert_eq!(Price::parse("12.5").unwrap(), Price(12_500_000));
        for wrong in ["", "-1", "1.", ".5", "1e3", "1.0000001", "1,5", "=1", "9999999999999"] {
            assert!(Price::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Price::parse("999999999999").unwrap().amount(u128::MAX / 2).is_err());
    }

    #[test]
    fn units_are_powers_of_ten() {
        let month = u128::from(MONTH);
        assert_eq!(tb_months(TB * month * 3 / 2), "1.500000");
        assert_eq!(gb_months(TB * month * 3 / 2), "1500.000000");
        assert_eq!(gb_months(TB * month / 10_000_000), "0.000100");
    }
}
