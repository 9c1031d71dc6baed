//! The bases of a file: of which models, and of which of their tensors, its tensors are versions.

use at1w_codec::Predictor;

use crate::digest::Digest;
use crate::error::Error;

/// The most models that the tensors of a file are versions of.
pub(crate) const MAX_MODELS: usize = 255;

/// The most that a version is away from a tensor that stands alone.
pub(crate) const MAX_DEPTH: u8 = 8;

/// A model that has bases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseModel {
    /// The root of its packed file, which a safetensors file would have as well.
    pub(crate) root: Digest,
    /// The name of the file when it was used: a hint.
    pub(crate) name: Box<str>,
}

/// The base of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// The index of the model.
    pub(crate) model: u8,
    /// The number of bases to a tensor that stands alone.
    pub(crate) depth: u8,
    pub(crate) predictor: Predictor,
    /// The name of the base, where it is not that of the tensor.
    pub(crate) name: Option<Box<str>>,
    /// The content digest of the base; `None` where the tensor is the same, and has the same.
    pub(crate) digest: Option<Digest>,
}

/// The bases of all tensors that have one, in data order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bases {
    pub(crate) models: Vec<BaseModel>,
    pub(crate) bases: Vec<Base>,
}

impl Bases {
    /// Appends the bases to an index.
    ///
    /// # Errors
    /// [`Error::ManyBases`] if they are of more than [`MAX_MODELS`] models.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> crate::error::Result<()> {
        if self.bases.is_empty() {
            return Ok(());
        }
        if self.models.len() > MAX_MODELS {
            return Err(Error::ManyBases(self.models.len()));
        }
        out.push(self.models.len() as u8);
        for BaseModel { root, name } in &self.models {
            out.extend_from_slice(&root.0);
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        for Base { model, depth, predictor, name, digest } in &self.bases {
            let name = name.as_deref().unwrap_or_default();
            out.extend([*model, *depth, predictor_byte(*predictor)]);
            out.extend((name.len() as u16).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend(digest.iter().flat_map(|digest| digest.0));
        }
        Ok(())
    }

    /// Reads what [`Bases::write`] wrote. `same` says, for each tensor that has a base, whether it
    /// is the same as the base.
    pub(crate) fn parse(bytes: &[u8], same: &[bool]) -> Result<Self, String> {
        let mut input = Input(bytes);
        let mut bases = Self::default();
        let count = input.byte()?;
        for _ in 0..count {
            let root = input.digest()?;
            let len = input.byte()?;
            let name = input.text(len.into())?.ok_or("a base model has no name")?;
            bases.models.push(BaseModel { root, name });
        }
        let mut used = vec![false; bases.models.len()];
        for &same in same {
            let (model, depth, predictor) = (input.byte()?, input.byte()?, input.byte()?);
            let predictor = match (predictor, same) {
                (0, _) => Predictor::Identity,
                (1, false) => Predictor::Rounding,
                _ => return Err("a base predicts in a way that this version does not know".into()),
            };
            *used.get_mut(usize::from(model)).ok_or("a base is of a model that is not listed")? =
                true;
            if !(1..=MAX_DEPTH).contains(&depth) {
                return Err(format!("a base has depth {depth}, 1 to {MAX_DEPTH} are allowed"));
            }
            let len = u16::from_le_bytes([input.byte()?, input.byte()?]);
            let name = input.text(len.into())?;
            let digest = if same { None } else { Some(input.digest()?) };
            bases.bases.push(Base { model, depth, predictor, name, digest });
        }
        if used.contains(&false) || used.is_empty() {
            return Err("a base model is listed that no tensor has".into());
        }
        match input.0 {
            [] => Ok(bases),
            _ => Err("bytes are left over after its bases".into()),
        }
    }

    /// Returns the index of a model, which is added if it is new. [`Bases::write`] refuses more
    /// than [`MAX_MODELS`].
    pub(crate) fn model(&mut self, model: &BaseModel) -> u8 {
        let known = self.models.iter().position(|known| known == model);
        let index = known.unwrap_or(self.models.len());
        if known.is_none() {
            self.models.push(model.clone());
        }
        index as u8
    }
}

fn predictor_byte(predictor: Predictor) -> u8 {
    match predictor {
        Predictor::Rounding => 1,
        _ => 0,
    }
}

/// The bytes that are still to be parsed.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        self.0.split_off(..len).ok_or_else(|| "it is too short for its bases".into())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn digest(&mut self) -> Result<Digest, String> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.take(32)?);
        Ok(Digest(digest))
    }

    /// Takes text; `None` if it is empty.
    fn text(&mut self, len: usize) -> Result<Option<Box<str>>, String> {
        let text = str::from_utf8(self.take(len)?).map_err(|_| "a name of a base is no Unicode")?;
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Bases {
        let model = |i| BaseModel { root: Digest([i; 32]), name: format!("{i}.at1w").into() };
        let base = |model, same: bool, name: Option<&str>| Base {
            model,
            depth: 1 + model,
            predictor: if same { Predictor::Identity } else { Predictor::Rounding },
            name: name.map(Into::into),
            digest: (!same).then_some(Digest([7; 32])),
        };
        Bases {
            models: vec![model(0), model(1)],
            bases: vec![base(0, true, None), base(1, false, Some("other")), base(0, false, None)],
        }
    }

    #[test]
    fn bases_round_trip() {
        let mut bytes = Vec::new();
        example().write(&mut bytes).unwrap();
        let same = [true, false, false];
        assert_eq!(Bases::parse(&bytes, &same).unwrap(), example());
        for cut in 0..bytes.len() {
            assert!(Bases::parse(&bytes[..cut], &same).is_err(), "{cut}");
        }
        assert!(Bases::parse(&bytes, &same[1..]).is_err());
        bytes.push(0);
        assert!(Bases::parse(&bytes, &same).is_err());
    }

    #[test]
    fn bases_that_lie_are_refused() {
        let write = |change: fn(&mut Bases)| {
            let mut bases = example();
            change(&mut bases);
            let mut bytes = Vec::new();
            bases.write(&mut bytes).unwrap();
            Bases::parse(&bytes, &[true, false, false]).unwrap_err()
        };
        assert!(write(|bases| bases.bases[0].model = 2).contains("not listed"));
        assert!(write(|bases| bases.bases[1].model = 0).contains("no tensor has"));
        assert!(write(|bases| bases.bases[1].depth = 0).contains("depth 0"));
        assert!(write(|bases| bases.bases[1].depth = 9).contains("depth 9"));
        assert!(write(|bases| bases.bases[0].predictor = Predictor::Rounding).contains("predicts"));
        assert!(write(|bases| bases.models[0].name = "".into()).contains("no name"));
    }

    #[test]
    fn no_more_models_are_written_than_are_read() {
        let many = |count: u16| {
            let mut bases = Bases::default();
            for i in 0..count {
                let root = Digest::of(&i.to_le_bytes());
                let model = bases.model(&BaseModel { root, name: "m".into() });
                let digest = Some(Digest([7; 32]));
                let predictor = Predictor::Identity;
                bases.bases.push(Base { model, depth: 1, predictor, name: None, digest });
            }
            let mut bytes = Vec::new();
            bases.write(&mut bytes).map(|()| (bases, bytes))
        };
        let (bases, bytes) = many(255).unwrap();
        assert_eq!(Bases::parse(&bytes, &[false; 255]).unwrap(), bases);
        assert!(matches!(many(256), Err(Error::ManyBases(256))));
    }
}
