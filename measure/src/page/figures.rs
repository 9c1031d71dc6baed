//! Numbers as people read them.

use indicatif::{DecimalBytes, HumanCount};

/// Writes a size in powers of ten: 1.20 MB.
pub fn bytes(bytes: f64) -> String {
    DecimalBytes(bytes.max(0.0).round() as u64).to_string()
}

/// Writes a number of things: 1,234.
pub fn count(count: f64) -> String {
    HumanCount(count.max(0.0).round() as u64).to_string()
}

/// Writes a part of a hundred: 69.41 %.
pub fn percent(percent: f64) -> String {
    format!("{percent:.2} %")
}

/// Writes bits of an element: 11.06.
pub fn bits(bits: f64) -> String {
    format!("{bits:.2}")
}

/// Writes a speed in megabytes a second: 412 MB/s.
pub fn speed(megabytes: f64) -> String {
    format!("{megabytes:.0} MB/s")
}

/// Writes an amount of money, with cents where it is small, and two digits of less than ten cents.
pub fn money(amount: f64) -> String {
    match amount.abs() {
        0.0 => "0.00".into(),
        ..0.1 => {
            let zeros = -amount.abs().log10().floor() as usize;
            format!("{amount:.*}", zeros + 1)
        }
        ..100.0 => format!("{amount:.2}"),
        _ => count(amount),
    }
}

/// Writes a time: 1.2 ms.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        ..0.000_999_5 => format!("{:.0} µs", seconds * 1e6),
        ..0.099_95 => format!("{:.2} ms", seconds * 1e3),
        ..0.999_5 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(612_340_000.0), "612.34 MB");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(percent(69.409), "69.41 %");
        let amounts = [0.0, 0.000_091, 0.0144, 1.5, 4321.4].map(money);
        assert_eq!(amounts, ["0.00", "0.000091", "0.014", "1.50", "4,321"]);
        assert_eq!(seconds(0.000_012), "12 µs");
        assert_eq!(seconds(0.0123), "12.30 ms");
        assert_eq!(seconds(0.5), "500 ms");
        assert_eq!(seconds(12.34), "12.3 s");
    }
}
