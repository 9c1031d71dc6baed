//! Every back-end against definitions with nothing vectorised about them.

mod common;

use at1w_simd::prediction::{
    Column, ContextMap, ROWS, SAMPLE_LEN, Sample, Term, add_products, predict_contexts, transpose,
    value, values,
};
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

/// The context of a row, by the words of its definition.
fn context(intercept: i16, terms: &[Term], columns: &[Column], map: &ContextMap, row: usize) -> u8 {
    let mut sum = i64::from(intercept);
    for term in terms {
        let value = i64::from(columns[usize::from(term.column)][row]);
        sum += (i64::from(term.coefficient) * value).div_euclid(256);
    }
    let sum = sum as i16;
    let distance = usize::from(sum.unsigned_abs()) / (1 << map.shift);
    map.contexts[distance.min(127)] | if sum < 0 { map.negative } else { 0 }
}

macro_rules! suite {
    ($($name:ident: $isa:expr;)*) => {$(
        #[test]
        fn $name() {
            let Some(backend) = available($isa) else { return };
            proptest!(|(
                width in 1..40_usize,
                count in 0..40_usize,
                intercept in any::<i16>(),
                shift in 0..16_u32,
                distance_shift in 0..16_u32,
                negative in any::<u8>(),
                unit in 3..15_u32,
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
                let map = ContextMap {
                    shift: distance_shift,
                    contexts: [(); 128].map(|()| next() as u8 & 15),
                    negative,
                };
                let intercept = intercept >> shift;
                let mut contexts = [0xa5; ROWS];
                predict_contexts(backend, intercept, &terms, &columns, &map, &mut contexts);
                for (row, &found) in contexts.iter().enumerate() {
                    prop_assert_eq!(found, context(intercept, &terms, &columns, &map, row));
                }

                let floats = [(); ROWS].map(|()| next() as u8);
                let mut column = [0; ROWS];
                values(backend, unit, &floats, &mut column);
                prop_assert_eq!(column, floats.map(|float| value(unit, float)));

                let samples: Vec<Sample> =
                    (0..9).map(|_| [(); SAMPLE_LEN].map(|()| next() as i16 >> 4)).collect();
                let mut sums = [7; 8];
                add_products(backend, &samples[8], &samples, &mut sums);
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
    scalar: Isa::Scalar;
    avx2: Isa::Avx2;
    avx512: Isa::Avx512;
    neon: Isa::Neon;
}

#[test]
fn values_are_those_of_floats() {
    for (unit, float) in (3..15).flat_map(|unit| (0..=255_u8).map(move |float| (unit, float))) {
        let (exponent, mantissa) = (i32::from(float >> 3 & 15), f64::from(float & 7));
        let magnitude = ((8.0 + mantissa) * 2_f64.powi(exponent - unit as i32)).floor();
        let magnitude = if exponent == 15 { 0.0 } else { magnitude };
        let sign = if float >= 0x80 { -1.0 } else { 1.0 };
        assert_eq!(f64::from(value(unit, float)), sign * magnitude, "{float:#x} by {unit}");
    }
}

#[test]
#[should_panic(expected = "an exponent from 3 to 14")]
fn a_unit_whose_values_do_not_fit_panics() {
    value(2, 0);
}

#[test]
fn transposes_any_number_of_rows_and_columns() {
    for width in [1, 7, 8, 9, 64, 100] {
        let columns: Vec<[u8; ROWS]> =
            (0..width).map(|i| noise(i as u64, ROWS).try_into().unwrap()).collect();
        for rows in 0..=ROWS {
            let mut out = vec![0; rows * width];
            transpose(Backend::best(), &columns, rows, &mut out);
            let at = |i: usize| columns[i % width][i / width];
            assert!(out.iter().enumerate().all(|(i, &byte)| byte == at(i)), "{rows} x {width}");
        }
    }
}
