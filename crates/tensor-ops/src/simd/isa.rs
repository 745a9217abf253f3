//! The instruction sets, and which of them is used.

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

use crate::TensorError;

/// Name of the environment variable that forces an instruction set: `portable`, `avx2` or `avx512`.
///
/// Without the variable, or with an empty one, the widest set of the CPU is used. [`Isa::from_environment`] says whether
/// the variable can be followed; programs call it when they start.
pub const ISA_VARIABLE: &str = "VIDRNN_ISA";

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust; vectorised by the compiler for the target's base instruction set.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Isa {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The instruction sets of this CPU, narrowest first.
    ///
    /// ```
    /// use tensor_ops::Isa;
    /// assert!(Isa::available().contains(&Isa::Portable));
    /// ```
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The instruction set that [`ISA_VARIABLE`] names, or the widest available where it names none.
    ///
    /// # Errors
    /// [`TensorError::InvalidOption`] for a name that is none of those of [`Self::name`], and for a set that this CPU
    /// lacks. Kernels cannot report it: they use the widest set then.
    ///
    /// ```
    /// use tensor_ops::Isa;
    /// let isa = Isa::from_environment()?;
    /// assert_eq!(isa, Isa::selected());
    /// # Ok::<(), tensor_ops::TensorError>(())
    /// ```
    pub fn from_environment() -> Result<Self, TensorError> {
        Self::named_or_widest(std::env::var_os(ISA_VARIABLE).as_deref())
    }

    /// The instruction set that the kernels use: that of [`Self::from_environment`], read once, or the widest available
    /// where that is an error.
    pub fn selected() -> Self {
        static SELECTED: OnceLock<Isa> = OnceLock::new();
        *SELECTED.get_or_init(|| Self::from_environment().unwrap_or_else(|_| Self::widest()))
    }

    fn named_or_widest(name: Option<&OsStr>) -> Result<Self, TensorError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Self::widest()) };
        let refusal = |requirement| TensorError::InvalidOption {
            operation: "Isa",
            option: ISA_VARIABLE,
            requirement,
            found: name.to_string_lossy().into_owned(),
        };
        let isa = Self::ALL.into_iter().find(|isa| name == isa.name());
        let isa = isa.ok_or_else(|| refusal("portable, avx2 or avx512"))?;
        if isa.is_available() { Ok(isa) } else { Err(refusal("an instruction set of this CPU")) }
    }

    fn widest() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => super::x86_64::Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => super::x86_64::Avx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The name that [`ISA_VARIABLE`] uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails where the variable is set to what it cannot be: the other tests would run on other kernels than asked for.
    #[test]
    fn the_selected_instruction_set_is_that_of_the_environment() {
        assert_eq!(Isa::from_environment(), Ok(Isa::selected()));
        assert!(Isa::available().contains(&Isa::selected()));
    }

    #[test]
    fn names_choose_an_instruction_set_of_this_cpu() {
        let chosen = |name: &str| Isa::named_or_widest(Some(OsStr::new(name)));
        for isa in Isa::ALL {
            match chosen(isa.name()) {
                Ok(found) => assert!(found == isa && isa.is_available(), "{isa}"),
                Err(error) => {
                    assert!(!isa.is_available(), "{error}");
                    let expected =
                        format!("Isa: option `VIDRNN_ISA` must be an instruction set of this CPU, found {isa}");
                    assert_eq!(error.to_string(), expected);
                }
            }
        }
        for name in ["sse2", "AVX2", "avx2 ", "avx", "0"] {
            let expected = format!("Isa: option `VIDRNN_ISA` must be portable, avx2 or avx512, found {name}");
            assert_eq!(chosen(name).unwrap_err().to_string(), expected);
        }
        for unset in [None, Some(OsStr::new(""))] {
            assert_eq!(Isa::named_or_widest(unset).ok().as_ref(), Isa::available().last());
        }
    }
}
