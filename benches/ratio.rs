//! Ratios as the tables write them.

/// Writes a ratio with two digits at least that are not leading zeros.
pub fn ratio(value: f64) -> String {
    let decimals = (2..6).find(|&decimals| value * 10_f64.powi(decimals - 1) >= 1.0).unwrap_or(6);
    format!("{value:.*}", decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::ratio;

    #[test]
    fn small_ratios_have_more_digits() {
        let written = [12.3456, 1.0, 0.1, 0.08, 0.0049, 0.0].map(ratio);
        assert_eq!(written, ["12.35", "1.00", "0.10", "0.080", "0.0049", "0.000000"]);
    }
}
