//! The price of storage.

use std::str::FromStr;

use serde::Serialize;

/// The number of bytes of a terabyte.
const TB: f64 = 1e12;

/// The price of storing a terabyte for a month, such as `USD:23`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Price {
    /// The currency, as three letters.
    pub currency: String,
    /// The price of a terabyte for a month.
    pub per_tb_month: f64,
}

/// A text is no price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePriceError(String);

impl std::fmt::Display for ParsePriceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(text) = self;
        write!(f, "{text:?} is no price of a TB for a month, such as USD:23")
    }
}

impl std::error::Error for ParsePriceError {}

impl FromStr for Price {
    type Err = ParsePriceError;

    fn from_str(text: &str) -> Result<Self, ParsePriceError> {
        let parsed = || {
            let (currency, amount) = text.split_once(':')?;
            let letters = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
            let amount: f64 = amount.parse().ok()?;
            (letters && amount.is_finite() && amount >= 0.0)
                .then(|| Self { currency: currency.into(), per_tb_month: amount })
        };
        parsed().ok_or_else(|| ParsePriceError(text.into()))
    }
}

/// The cost of storing the weights for a month.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Money {
    /// The price.
    #[serde(flatten)]
    pub price: Price,
    /// The cost of the files as they are, for a month.
    pub raw_per_month: f64,
    /// The cost of the packed files, for a month.
    pub packed_per_month: f64,
    /// The difference, for a year.
    pub saved_per_year: f64,
    /// The difference for each TB of such weights, for a year.
    pub saved_per_tb_year: f64,
}

impl Money {
    pub(crate) fn of(price: &Price, raw_bytes: u64, packed_bytes: u64) -> Self {
        let cost = |bytes: u64| bytes as f64 / TB * price.per_tb_month;
        let (raw, packed) = (cost(raw_bytes), cost(packed_bytes));
        let share = if raw_bytes == 0 { 0.0 } else { packed_bytes as f64 / raw_bytes as f64 };
        Self {
            price: price.clone(),
            raw_per_month: raw,
            packed_per_month: packed,
            saved_per_year: 12.0 * (raw - packed),
            saved_per_tb_year: 12.0 * price.per_tb_month * (1.0 - share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_have_a_currency_and_an_amount() {
        let price: Price = "EUR:21.5".parse().unwrap();
        assert_eq!((price.currency.as_str(), price.per_tb_month), ("EUR", 21.5));
        for text in ["", "USD", "USD:", "usd:23", "USD:-1", "USD:inf", "USD:NaN", "DOLLAR:1"] {
            assert!(text.parse::<Price>().is_err(), "{text}");
        }
        let money = Money::of(&price, 2_000_000_000_000, 1_500_000_000_000);
        assert_eq!((money.raw_per_month, money.packed_per_month), (43.0, 32.25));
        assert_eq!((money.saved_per_year, money.saved_per_tb_year), (129.0, 64.5));
    }
}
