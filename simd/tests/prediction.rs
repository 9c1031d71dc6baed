//! Every back-end against definitions with nothing vectorised about them.

mod common;

use at1w_simd::Backend;
use at1w_simd::prediction::{
    Column, NEGATIVE, ROWS, SAMPLE_LEN, Sample, Table, Term, add_products_with,
    predict_contexts_with, transpose, value, values_with,
};
use common::{available, noise, random};
use proptest::prelude::*;

/// The context of a row, by the words of its definition.
fn context(intercept: i16, terms: &[Term], columns: &[Column], table: &Table, row: usize) -> u8 {
    let mut sum = i64::from(intercept);
    for term in terms {
        let value = i64::from(columns[usize::from(term.column)][row]);
        sum += (i64::from(term.coefficient) * value).div_euclid(256);
    }
    let sum = sum as i16;
    let distance = usize::from(sum.unsigned_abs() / 32);
    table[distance.min(127)] | if sum < 0 { NEGATIVE } else { 0 }
}

macro_rules! suite {
    ($($name:ident: $backend:expr;)*) => {$(
        #[test]
        fn $name() {
            if !available($backend) {
                return;
            }
            proptest!(|(
                width in 1..40_usize,
                count in 0..40_usize,
                intercept in any::<i16>(),
                shift in 0..16_u32,
                seed in any::<u64>(),
            )| {
                let mut next = random(seed);
                let columns: Vec<Column> =
                    (0..width).map(|_| [(); ROWS].map(|()| next() as i16 >> shift)).collect();
                let term = |_| Term {
                    column: (next() as usize % width) as u16,
                    coefficient: next() as i8,
                };
                let terms: Vec<Term> = (0..count).map(term).collect();
                let table: Table = [(); 128].map(|()| next() as u8 & 15);
                let intercept = intercept >> shift;
                let mut contexts = [0xa5; ROWS];
                predict_contexts_with($backend, intercept, &terms, &columns, &table, &mut contexts);
                for (row, &found) in contexts.iter().enumerate() {
                    prop_assert_eq!(found, context(intercept, &terms, &columns, &table, row));
                }

                let symbols = [(); ROWS].map(|()| next() as u8);
                let mut column = [0; ROWS];
                values_with($backend, &symbols, &mut column);
                prop_assert_eq!(column, symbols.map(value));

                let samples: Vec<Sample> =
                    (0..9).map(|_| [(); SAMPLE_LEN].map(|()| next() as i16 >> 4)).collect();
                let mut sums = [7; 8];
                add_products_with($backend, &samples[8], &samples, &mut sums);
                for (sum, sample) in sums.iter().zip(&samples) {
                    let products = samples[8].iter().zip(sample);
                    let products = products.map(|(&a, &b)| i64::from(a) * i64::from(b));
                    prop_assert_eq!(*sum, 7 + products.sum::<i64>());
                }
            });
        }
    )*};
}

suite! {
    scalar: Backend::Scalar;
    avx2: Backend::Avx2;
    avx512: Backend::Avx512;
    neon: Backend::Neon;
}

#[test]
fn values_are_those_of_floats() {
    for symbol in 0..=255_u8 {
        let (exponent, mantissa) = (i32::from(symbol >> 3 & 15), f64::from(symbol & 7));
        let magnitude = ((8.0 + mantissa) * 2_f64.powi(exponent - 3)).floor();
        let magnitude = if exponent == 15 { 0.0 } else { magnitude };
        let sign = if symbol >= 0x80 { -1.0 } else { 1.0 };
        assert_eq!(f64::from(value(symbol)), sign * magnitude, "{symbol:#x}");
    }
}

#[test]
fn transposes_any_number_of_rows_and_columns() {
    for width in [1, 7, 8, 9, 64, 100] {
        let columns: Vec<[u8; ROWS]> =
            (0..width).map(|i| noise(i as u64, ROWS).try_into().unwrap()).collect();
        for rows in 0..=ROWS {
            let mut out = vec![0; rows * width];
            transpose(&columns, rows, &mut out);
            let at = |i: usize| columns[i % width][i / width];
            assert!(out.iter().enumerate().all(|(i, &byte)| byte == at(i)), "{rows} x {width}");
        }
    }
}
