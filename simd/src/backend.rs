//! The instruction sets that kernels are written for, and the proof that this machine has one.

use std::ffi::OsStr;
use std::fmt;

#[cfg(target_arch = "aarch64")]
use pulp::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

/// The environment variable that names an instruction set.
const VARIABLE: &str = "AT1W_SIMD";

/// The name of an instruction set. Every target knows all of them, so that names can be parsed and
/// printed anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, the scalar reference: every other back-end must agree with it.
    Scalar,
    /// x86-64-v3: AVX2, BMI2, FMA and what they imply.
    Avx2,
    /// AVX2 without the SHA extensions, whether the machine has them or not.
    Avx2Soft,
    /// x86-64-v4 (AVX-512 F, BW, CD, DQ and VL) with VBMI and VBMI2: Ice Lake, Zen 4 and later.
    Avx512,
    /// The vector unit of every 64-bit ARM.
    Neon,
}

impl Isa {
    /// Every instruction set, the preferred ones first.
    pub const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Avx2Soft, Self::Neon, Self::Scalar];

    /// The name that `AT1W_SIMD` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx2Soft => "avx2-soft",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Returns the instruction set of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An instruction set that this machine has: a value exists only where its kernels can run.
///
/// Kernels take one as their first argument. It is small and `Copy`: choose one and keep it.
#[derive(Clone, Copy)]
pub struct Backend {
    pub(crate) token: Token,
}

/// The proof that the instructions of a [`Backend`] may be used.
#[derive(Clone, Copy)]
pub(crate) enum Token {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(V3, Sha),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

/// The kernels for SHA-256 that a back-end takes.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) enum Sha {
    /// Those of the SHA extensions, where the machine has them.
    Extensions,
    /// Those of vectors alone.
    Vectors,
}

#[cfg(target_arch = "x86_64")]
pulp::simd_type! {
    /// The features of [`Isa::Avx512`]: those of pulp's `V4`, and two that it lacks.
    pub(crate) struct Avx512 {
        pub(crate) sse: "sse",
        pub(crate) sse2: "sse2",
        pub(crate) fxsr: "fxsr",
        pub(crate) sse3: "sse3",
        pub(crate) ssse3: "ssse3",
        pub(crate) sse4_1: "sse4.1",
        pub(crate) sse4_2: "sse4.2",
        pub(crate) popcnt: "popcnt",
        pub(crate) avx: "avx",
        pub(crate) avx2: "avx2",
        pub(crate) bmi1: "bmi1",
        pub(crate) bmi2: "bmi2",
        pub(crate) fma: "fma",
        pub(crate) lzcnt: "lzcnt",
        pub(crate) avx512f: "avx512f",
        pub(crate) avx512bw: "avx512bw",
        pub(crate) avx512cd: "avx512cd",
        pub(crate) avx512dq: "avx512dq",
        pub(crate) avx512vl: "avx512vl",
        pub(crate) avx512vbmi: "avx512vbmi",
        pub(crate) avx512vbmi2: "avx512vbmi2",
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// The part that plain code is compiled for: VBMI is for kernels that are written for it.
    #[inline(always)]
    fn v4(self) -> V4 {
        let Self { sse, sse2, fxsr, sse3, ssse3, sse4_1, sse4_2, popcnt, .. } = self;
        let Self { avx, avx2, bmi1, bmi2, fma, lzcnt, .. } = self;
        let Self { avx512f, avx512bw, avx512cd, avx512dq, avx512vl, .. } = self;
        V4 {
            sse,
            sse2,
            fxsr,
            sse3,
            ssse3,
            sse4_1,
            sse4_2,
            popcnt,
            avx,
            avx2,
            bmi1,
            bmi2,
            fma,
            lzcnt,
            avx512f,
            avx512bw,
            avx512cd,
            avx512dq,
            avx512vl,
        }
    }
}

impl Backend {
    /// The scalar reference, which works anywhere.
    pub const SCALAR: Self = Self { token: Token::Scalar };

    /// Returns the back-end of an instruction set, if this machine has all of its instructions.
    pub fn new(isa: Isa) -> Option<Self> {
        let token = match isa {
            Isa::Scalar => Some(Token::Scalar),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => V3::try_new().map(|token| Token::Avx2(token, Sha::Extensions)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2Soft => V3::try_new().map(|token| Token::Avx2(token, Sha::Vectors)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::try_new().map(Token::Avx512),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::try_new().map(Token::Neon),
            #[allow(unreachable_patterns, reason = "depends on the target")]
            _ => None,
        };
        token.map(|token| Self { token })
    }

    /// Returns the back-ends that this machine has, the preferred one first and
    /// [`SCALAR`](Self::SCALAR) last.
    pub fn available() -> impl Iterator<Item = Self> {
        Isa::ALL.into_iter().filter_map(Self::new)
    }

    /// Returns the preferred back-end of this machine.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::SCALAR)
    }

    /// Returns the back-end that the environment variable `AT1W_SIMD` names (`scalar`, `avx2`,
    /// `avx2-soft`, `avx512` or `neon`), and the [`best`](Self::best) one where it is unset or
    /// empty.
    ///
    /// Reads the variable on every call: call it once and keep the value.
    ///
    /// # Errors
    /// If `AT1W_SIMD` names no instruction set, or one that this machine lacks. Callers that can't
    /// return the error use the default instead.
    pub fn from_environment() -> Result<Self, BackendError> {
        Self::choose(&std::env::var_os(VARIABLE).unwrap_or_default())
    }

    /// Returns the back-end for a value of `AT1W_SIMD`, empty standing for unset.
    fn choose(value: &OsStr) -> Result<Self, BackendError> {
        let value = value.to_string_lossy();
        if value.is_empty() {
            return Ok(Self::best());
        }
        let isa = Isa::from_name(&value);
        isa.and_then(Self::new)
            .ok_or_else(|| BackendError { value: value.into(), is_known: isa.is_some() })
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        match self.token {
            Token::Scalar => Isa::Scalar,
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_, Sha::Extensions) => Isa::Avx2,
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_, Sha::Vectors) => Isa::Avx2Soft,
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => Isa::Avx512,
            #[cfg(target_arch = "aarch64")]
            Token::Neon(_) => Isa::Neon,
        }
    }

    /// Runs plain code that is compiled for this back-end: an `#[inline(always)]` closure, so that
    /// all of its code is.
    #[inline]
    pub(crate) fn vectorize<R>(self, plain: impl FnOnce() -> R) -> R {
        match self.token {
            Token::Scalar => plain(),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(token, _) => token.vectorize(plain),
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(token) => token.v4().vectorize(plain),
            #[cfg(target_arch = "aarch64")]
            Token::Neon(token) => token.vectorize(plain),
        }
    }

    /// As [`vectorize`](Self::vectorize), for code that gains from the scalar instructions of
    /// x86-64-v3 and from nothing beyond them.
    #[inline]
    pub(crate) fn with_scalar_extensions<R>(self, plain: impl FnOnce() -> R) -> R {
        match self.token {
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(token, _) => token.vectorize(plain),
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(token) => V3::vectorize(*token.v4(), plain),
            _ => plain(),
        }
    }
}

impl Default for Backend {
    /// Returns the [best](Self::best) back-end, whatever the environment says.
    fn default() -> Self {
        Self::best()
    }
}

impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        self.isa() == other.isa()
    }
}

impl Eq for Backend {}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backend").field(&self.isa()).finish()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.isa().fmt(f)
    }
}

/// A value of `AT1W_SIMD` that names no back-end, or one that this machine lacks. The message names
/// the back-ends that this machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendError {
    value: String,
    is_known: bool,
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.is_known {
            true => "a back-end that this machine lacks",
            false => "not a back-end",
        };
        let available: Vec<_> = Backend::available().map(|b| b.isa().name()).collect();
        let available = available.join(", ");
        write!(f, "{VARIABLE}={:?} is {fault}; available here: {available}", self.value)
    }
}

impl std::error::Error for BackendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for isa in Isa::ALL {
            assert_eq!(Isa::from_name(&isa.to_string()), Some(isa));
        }
        assert_eq!(Isa::from_name("AVX2"), None);
    }

    #[test]
    fn back_ends_are_what_they_were_asked_to_be() {
        for isa in Isa::ALL {
            assert!(Backend::new(isa).is_none_or(|backend| backend.isa() == isa));
        }
        assert_eq!(Backend::available().last(), Some(Backend::SCALAR));
        assert_eq!(Backend::available().next(), Some(Backend::default()));
    }

    #[test]
    fn a_back_end_is_small() {
        assert!(size_of::<Backend>() <= 1 && size_of::<Option<Backend>>() <= 1);
    }

    #[test]
    fn the_variable_forces_or_fails() {
        let choose = |value: &str| Backend::choose(value.as_ref());
        assert_eq!(choose(""), Ok(Backend::best()));
        for isa in Isa::ALL {
            match (choose(isa.name()), Backend::new(isa)) {
                (Ok(chosen), Some(backend)) => assert_eq!(chosen, backend),
                (Err(error), None) => {
                    assert!(error.to_string().contains("a back-end that this machine lacks"));
                }
                (chosen, there) => panic!("{chosen:?} where there is {there:?}"),
            }
        }
        let message = choose("sse9").unwrap_err().to_string();
        assert!(message.starts_with(r#"AT1W_SIMD="sse9" is not a back-end; available here: "#));
        assert!(message.ends_with("scalar"));
    }

    /// A process can't change its own environment safely: this test runs itself in another one.
    #[test]
    fn the_environment_is_read() {
        const NAME: &str = "backend::tests::the_environment_is_read";
        if let Some(value) = std::env::var_os("AT1W_SIMD_TEST") {
            let chosen = Backend::from_environment().map(|backend| backend.to_string());
            assert_eq!(chosen.unwrap_or_else(|error| error.value).as_str(), value);
            return;
        }
        for value in ["scalar", "sse9"] {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", NAME])
                .env(VARIABLE, value)
                .env("AT1W_SIMD_TEST", value)
                .output()
                .unwrap();
            let report = String::from_utf8_lossy(&output.stdout);
            assert!(report.contains("1 passed; 0 failed"), "{report}");
        }
    }
}
