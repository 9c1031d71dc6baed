//! Element types, and how their bytes split into planes.

use at1w_simd::planes::Layout;

macro_rules! dtypes {
    ($($variant:ident $name:literal $bits:literal $layout:ident $doc:literal,)*) => {
        /// The 22 element types of safetensors 0.8.
        ///
        /// ```
        /// use at1w_codec::{Dtype, Layout};
        ///
        /// assert_eq!(Dtype::from_name("BF16"), Some(Dtype::BF16));
        /// assert_eq!(Dtype::BF16.layout(), Layout::FLOAT16);
        /// assert_eq!(Dtype::F4.bits(), 4);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Dtype {
            $(#[doc = $doc] $variant,)*
        }

        impl Dtype {
            /// Every dtype.
            pub const ALL: [Self; 22] = [$(Self::$variant,)*];

            /// Returns the name in a safetensors header.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the bits of one element.
            pub const fn bits(self) -> u32 {
                match self { $(Self::$variant => $bits,)* }
            }

            /// Returns how the bytes of a tensor of this type split into planes.
            pub const fn layout(self) -> Layout {
                match self { $(Self::$variant => Layout::$layout,)* }
            }

            /// Finds the dtype of that name in a safetensors header.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

dtypes! {
    Bool "BOOL" 8 BYTES "Boolean, one byte.",
    F4 "F4" 4 BYTES "MX 4-bit float, two in a byte.",
    F6E2M3 "F6_E2M3" 6 BYTES "MX 6-bit float, 2 bits of exponent.",
    F6E3M2 "F6_E3M2" 6 BYTES "MX 6-bit float, 3 bits of exponent.",
    U8 "U8" 8 BYTES "Unsigned 8-bit integer.",
    I8 "I8" 8 BYTES "Signed 8-bit integer.",
    F8E5M2 "F8_E5M2" 8 BYTES "8-bit float, 5 bits of exponent.",
    F8E4M3 "F8_E4M3" 8 BYTES "8-bit float, 4 bits of exponent.",
    F8E8M0 "F8_E8M0" 8 BYTES "MX scale, exponent only.",
    F8E4M3Fnuz "F8_E4M3FNUZ" 8 BYTES "8-bit float, 4 bits of exponent, no negative zero.",
    F8E5M2Fnuz "F8_E5M2FNUZ" 8 BYTES "8-bit float, 5 bits of exponent, no negative zero.",
    I16 "I16" 16 WORD16 "Signed 16-bit integer.",
    U16 "U16" 16 WORD16 "Unsigned 16-bit integer.",
    F16 "F16" 16 FLOAT16 "IEEE half precision.",
    BF16 "BF16" 16 FLOAT16 "bfloat16.",
    I32 "I32" 32 WORD32 "Signed 32-bit integer.",
    U32 "U32" 32 WORD32 "Unsigned 32-bit integer.",
    F32 "F32" 32 FLOAT32 "IEEE single precision.",
    C64 "C64" 64 FLOAT32 "Complex of two single precision floats.",
    F64 "F64" 64 FLOAT64 "IEEE double precision.",
    I64 "I64" 64 WORD64 "Signed 64-bit integer.",
    U64 "U64" 64 WORD64 "Unsigned 64-bit integer.",
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
