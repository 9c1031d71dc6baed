//! Which instruction sets there are, and which one is in use.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use pulp::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

/// The environment variable that forces a back-end.
const VARIABLE: &str = "AT1W_SIMD";

/// An instruction set that kernels are written for.
///
/// All of them exist on every target, so that their names can be parsed and
/// printed anywhere; [`is_available`](Self::is_available) tells whether this
/// machine can run one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Plain Rust: what every other back-end must agree with.
    Scalar,
    /// x86-64-v3: AVX2, BMI2, FMA and what they imply.
    Avx2,
    /// x86-64-v4 (AVX-512 F, BW, CD, DQ and VL) with VBMI and VBMI2: Ice
    /// Lake, Zen 4 and later.
    Avx512,
    /// The vector unit of every 64-bit ARM.
    Neon,
}

impl Backend {
    /// Every back-end, the preferred ones first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];

    /// The name that [`FromStr`] and `AT1W_SIMD` take.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Whether this machine has every instruction that the back-end uses.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => V3::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                V4::is_available()
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vbmi2")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::is_available(),
            #[allow(unreachable_patterns, reason = "depends on the target")]
            _ => false,
        }
    }

    /// The back-ends that this machine has, the preferred one first.
    /// [`Scalar`](Self::Scalar) is always the last.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|b| b.is_available())
    }

    /// The back-end that kernels use where none is named: the one that the
    /// environment variable `AT1W_SIMD` holds (`scalar`, `avx2`, `avx512` or
    /// `neon`), and the best available one where it is unset or empty.
    ///
    /// A wrong value counts as unset: a kernel has no way to refuse it. Whoever can, asks
    /// [`from_environment`](Self::from_environment) first. The variable is read once per process.
    pub fn active() -> Self {
        Self::from_environment().unwrap_or_else(|_| Self::best())
    }

    /// As [`active`](Self::active), for callers that can refuse a wrong value.
    ///
    /// # Errors
    ///
    /// If `AT1W_SIMD` names no back-end, or one that this machine lacks.
    pub fn from_environment() -> Result<Self, BackendError> {
        static CHOSEN: OnceLock<Result<Backend, BackendError>> = OnceLock::new();
        let choose = || Self::choose(&std::env::var_os(VARIABLE).unwrap_or_default());
        CHOSEN.get_or_init(choose).clone()
    }

    /// The best back-end that this machine has.
    fn best() -> Self {
        Self::available().next().unwrap_or(Self::Scalar)
    }

    /// The back-end for a value of `AT1W_SIMD`, empty standing for unset.
    fn choose(value: &OsStr) -> Result<Self, BackendError> {
        let value = value.to_string_lossy();
        match value.parse::<Self>() {
            _ if value.is_empty() => Ok(Self::best()),
            Ok(backend) if backend.is_available() => Ok(backend),
            parsed => Err(BackendError { value: value.into(), is_known: parsed.is_ok() }),
        }
    }

    /// For kernels that are called with a back-end by name: panics where
    /// this machine lacks it.
    #[inline]
    #[track_caller]
    pub(crate) fn require(self) {
        if !self.is_available() {
            self.unavailable();
        }
    }

    /// Runs plain code, compiled for this back-end: an `#[inline(always)]` closure, so that all of
    /// it is.
    ///
    /// # Panics
    ///
    /// If this machine lacks the back-end.
    #[inline]
    #[track_caller]
    pub(crate) fn vectorize<R>(self, plain: impl FnOnce() -> R) -> R {
        match self {
            Self::Scalar => plain(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Self::avx2().vectorize(plain),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Self::avx512().vectorize(plain),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Self::neon().vectorize(plain),
            #[allow(unreachable_patterns, reason = "depends on the target")]
            missing => missing.unavailable(),
        }
    }

    #[cold]
    #[track_caller]
    pub(crate) fn unavailable(self) -> ! {
        panic!("the {self} back-end is not available on this machine")
    }

    /// Proof that AVX2 may be used.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[track_caller]
    pub(crate) fn avx2() -> V3 {
        V3::try_new().unwrap_or_else(|| Self::Avx2.unavailable())
    }

    /// Proof that AVX-512 may be used, VBMI and VBMI2 included.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[track_caller]
    pub(crate) fn avx512() -> V4 {
        match V4::try_new() {
            Some(token) if Self::Avx512.is_available() => token,
            _ => Self::Avx512.unavailable(),
        }
    }

    /// Proof that NEON may be used.
    #[cfg(target_arch = "aarch64")]
    #[inline]
    #[track_caller]
    pub(crate) fn neon() -> Neon {
        Neon::try_new().unwrap_or_else(|| Self::Neon.unavailable())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A value of `AT1W_SIMD` that names no back-end, or one that this machine lacks. The message names
/// those that it has.
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
        let available: Vec<_> = Backend::available().map(Backend::name).collect();
        let available = available.join(", ");
        write!(f, "{VARIABLE}={:?} is {fault}; available here: {available}", self.value)
    }
}

impl std::error::Error for BackendError {}

/// A string that is not the name of a [`Backend`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBackend(String);

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not one of", self.0)?;
        for (i, backend) in Backend::ALL.iter().enumerate() {
            write!(f, "{}{backend}", if i == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownBackend {}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        Self::ALL
            .into_iter()
            .find(|b| b.name() == name)
            .ok_or_else(|| UnknownBackend(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for backend in Backend::ALL {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert_eq!(
            "AVX2".parse::<Backend>().unwrap_err().to_string(),
            r#""AVX2" is not one of avx512, avx2, neon, scalar"#
        );
    }

    #[test]
    fn scalar_is_always_there_and_last() {
        assert_eq!(Backend::available().last(), Some(Backend::Scalar));
    }

    #[test]
    fn the_variable_forces_or_fails() {
        let choose = |value: &str| Backend::choose(value.as_ref());
        assert_eq!(choose("").ok(), Backend::available().next());
        for backend in Backend::ALL {
            match choose(backend.name()) {
                Ok(chosen) => {
                    assert_eq!(chosen, backend);
                    assert!(backend.is_available());
                }
                Err(error) => {
                    assert!(!backend.is_available());
                    assert!(error.to_string().contains("a back-end that this machine lacks"));
                }
            }
        }
        let message = choose("sse9").unwrap_err().to_string();
        assert!(message.starts_with(r#"AT1W_SIMD="sse9" is not a back-end; available here: "#));
        assert!(message.ends_with("scalar"));
    }

    /// The variable is read once per process: this runs itself in another one.
    #[test]
    fn a_wrong_value_counts_as_unset() {
        if std::env::var_os(VARIABLE).is_some_and(|value| value == "sse9") {
            assert!(Backend::from_environment().is_err());
            assert_eq!(Backend::active(), Backend::best());
            return;
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "backend::tests::a_wrong_value_counts_as_unset"])
            .env(VARIABLE, "sse9")
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("1 passed; 0 failed"), "{report}");
    }
}
