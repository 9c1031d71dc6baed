//! Integer costs: the size that a plane would have, without coding it.
//!
//! Costs are in units of 2^-16 bit. They use integers only, so that the same input is packed to
//! the same bytes on every machine.

/// A cost or a saving in units of 2^-16 bit.
pub(crate) type Cost = u64;

/// One bit.
pub(crate) const BIT: Cost = 1 << 16;

/// One byte.
pub(crate) const BYTE: Cost = 8 * BIT;

/// `FREQ[f]` is the cost of a symbol of probability `f / 256`, that is `8 - log2 f` bits.
pub(crate) const FREQ: [Cost; 257] = {
    let mut table = [0; 257];
    let mut f = 1;
    while f <= 256 {
        table[f] = BYTE - log2(f as u32);
        f += 1;
    }
    table
};

/// Returns `log2 x` rounded down to 2^-16, by repeated squaring of the mantissa.
pub(crate) const fn log2(x: u32) -> Cost {
    let exponent = x.ilog2();
    // 1.31 fixed point in [1, 2).
    let mut mantissa = (x as u64) << (31 - exponent);
    let mut result = exponent as Cost;
    let mut bit = 0;
    while bit < 16 {
        mantissa = (mantissa * mantissa) >> 31;
        let carry = mantissa >> 32;
        result = result << 1 | carry;
        mantissa >>= carry;
        bit += 1;
    }
    result
}

/// `log2` of `1 + i / 256`, to look up the mantissa of any integer.
const MANTISSA: [Cost; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i <= 256 {
        table[i] = log2(256 + i as u32) - 8 * BIT;
        i += 1;
    }
    table
};

/// Returns an integer no larger than `log2 x` (`up` = 0) or no smaller (`up` = 1).
const fn log2_bound(x: u64, up: usize) -> Cost {
    let exponent = x.ilog2();
    let fraction = if exponent >= 8 { x >> (exponent - 8) } else { x << (8 - exponent) } & 0xff;
    exponent as Cost * BIT + MANTISSA[fraction as usize + up] + up as Cost
}

/// No smaller than `log2 x`, for the small counts that most symbols of small planes have.
const SMALL: [Cost; 1024] = {
    let mut table = [0; 1024];
    let mut x = 1;
    while x < table.len() {
        table[x] = log2_bound(x as u64, 1);
        x += 1;
    }
    table
};

/// A part of a tensor that was counted, and the whole of it.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    /// Elements of the tensor.
    pub(crate) elements: u64,
    /// Elements that were counted.
    pub(crate) counted: u64,
}

impl Counted {
    /// Extends the cost of the elements that were counted to the whole tensor.
    pub(crate) fn extend(self, cost: Cost) -> Cost {
        let all = u128::from(cost) * u128::from(self.elements.max(self.counted));
        (all / u128::from(self.counted.max(1))) as Cost
    }
}

/// Returns a lower bound of the bits that any order-0 coder needs for symbols with these counts.
pub(crate) fn entropy_floor(counts: &[u64]) -> Cost {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return 0;
    }
    let log_total = log2_bound(total, 0);
    let log = |count: u64| match count {
        0..1024 => SMALL[count as usize],
        _ => log2_bound(count, 1),
    };
    counts.iter().map(|&count| count * log_total.saturating_sub(log(count))).sum()
}

#[cfg(test)]
mod tests {
    use super::{BIT, FREQ, entropy_floor};

    #[test]
    fn table_agrees_with_floating_point() {
        for f in 1..=256 {
            let exact = (8.0 - f64::from(f).log2()) * BIT as f64;
            assert!((FREQ[f as usize] as f64 - exact).abs() <= 2.0, "f = {f}");
        }
    }

    #[test]
    fn floor_is_below_the_entropy_and_near_it() {
        let mut counts = [0; 256];
        for (i, c) in counts.iter_mut().enumerate() {
            *c = (i as u64 * 7919) % 1000;
        }
        let total: u64 = counts.iter().sum();
        let exact: f64 = counts
            .iter()
            .filter(|&&c| c > 0)
            .map(|&c| c as f64 * (total as f64 / c as f64).log2() * BIT as f64)
            .sum();
        let floor = entropy_floor(&counts) as f64;
        assert!(floor <= exact && floor > 0.995 * exact, "{floor} of {exact}");
    }
}
