//! The kinds of tensors, by name and shape.

use serde::{Deserialize, Serialize};

/// The part that a tensor plays in a model, as far as its name and shape tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Vectors of tokens, or the layer that gives tokens out.
    Embedding,
    /// Vectors of positions, which are often computed and not learnt.
    Position,
    /// Queries, keys, values and the output of attention.
    Attention,
    /// Convolutions.
    Convolution,
    /// Any other matrix: feed-forward layers, experts, recurrent layers.
    Matrix,
    /// Scales and zero points of quantised weights.
    Scale,
    /// Norms, biases and other vectors and scalars.
    Vector,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Embedding,
        Self::Position,
        Self::Attention,
        Self::Convolution,
        Self::Matrix,
        Self::Scale,
        Self::Vector,
    ];

    /// Recognises the kind of a tensor.
    pub fn of(name: &str, shape: &[u64]) -> Self {
        const SCALES: [&str; 6] = ["scale", "scales", "scale_inv", "zeros", "qzeros", "zero_point"];
        const EMBEDDINGS: [&str; 5] = ["embed", "emb", "wte", "lm_head", "token"];
        const POSITIONS: [&str; 3] = ["position", "pos_emb", "wpe"];
        const ATTENTION: [&str; 10] = [
            "attn",
            "attention",
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "query",
            "key",
            "value",
            "qkv",
        ];
        let name = name.to_ascii_lowercase();
        let words = || name.split(['.', '/', ':']);
        let any = |parts: &[&str]| words().any(|word| parts.iter().any(|part| word.contains(part)));
        let last = words().next_back().unwrap_or_default();
        if SCALES.iter().any(|scale| last == *scale || last.ends_with(&format!("_{scale}"))) {
            return Self::Scale;
        }
        match shape.iter().filter(|&&dim| dim > 1).count() {
            0 | 1 => Self::Vector,
            _ if any(&POSITIONS) => Self::Position,
            _ if any(&EMBEDDINGS) => Self::Embedding,
            _ if any(&ATTENTION) => Self::Attention,
            _ if shape.len() > 2 => Self::Convolution,
            _ => Self::Matrix,
        }
    }

    /// Returns the name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Position => "position",
            Self::Attention => "attention",
            Self::Convolution => "convolution",
            Self::Matrix => "matrix",
            Self::Scale => "scale",
            Self::Vector => "vector",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_shapes_tell_the_kind() {
        for (name, shape, kind) in [
            ("model.embed_tokens.weight", &[32000, 4096][..], Kind::Embedding),
            ("embeddings.position_embeddings.weight", &[512, 384], Kind::Position),
            ("lm_head.weight", &[32000, 4096], Kind::Embedding),
            ("model.layers.0.self_attn.q_proj.weight", &[4096, 4096], Kind::Attention),
            ("encoder.layer.3.attention.self.key.bias", &[384], Kind::Vector),
            ("model.layers.0.mlp.up_proj.weight", &[11008, 4096], Kind::Matrix),
            ("model.layers.0.mlp.up_proj.weight_scale_inv", &[86, 32], Kind::Scale),
            ("model.layers.0.mlp.up_proj.qzeros", &[32, 1376], Kind::Scale),
            ("conv1.weight", &[64, 3, 3, 3], Kind::Convolution),
            ("logit_scale", &[], Kind::Scale),
            ("norm.weight", &[1, 4096, 1], Kind::Vector),
        ] {
            assert_eq!(Kind::of(name, shape), kind, "{name}");
        }
    }

    #[test]
    fn names_are_those_of_json() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
