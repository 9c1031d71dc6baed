//! The bundle around a payload: its envelope, its signature, and the name of the key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::key::{PublicKey, SecretKey};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    /// Other bundles have a message signature in its place.
    #[serde(default)]
    dsse_envelope: Option<Envelope>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    /// Other bundles have a certificate in its place.
    #[serde(default)]
    public_key: Option<Hint>,
    /// Nothing here; readers of older versions want the field.
    #[serde(default, skip_deserializing)]
    tlog_entries: [(); 0],
}

#[derive(Serialize, Deserialize)]
struct Hint {
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}

/// Returns the message that is signed for a payload.
fn message(payload: &[u8]) -> Vec<u8> {
    let (kind, len) = (PAYLOAD_TYPE.len(), payload.len());
    [format!("DSSEv1 {kind} {PAYLOAD_TYPE} {len} ").as_bytes(), payload].concat()
}

/// Signs a payload; returns the bundle.
pub(crate) fn seal(payload: &[u8], key: &SecretKey) -> String {
    let bundle = Bundle {
        media_type: MEDIA_TYPE.into(),
        verification_material: Material {
            public_key: Some(Hint { hint: Some(key.public().hint()) }),
            tlog_entries: [],
        },
        dsse_envelope: Some(Envelope {
            payload: STANDARD.encode(payload),
            payload_type: PAYLOAD_TYPE.into(),
            signatures: vec![Signature {
                sig: STANDARD.encode(key.sign(&message(payload))),
                keyid: Some(String::new()),
            }],
        }),
    };
    serde_json::to_string(&bundle).expect("a bundle is plain data")
}

/// Checks the signature of a bundle; returns its payload.
pub(crate) fn open(bundle: &[u8], key: &PublicKey) -> Result<Vec<u8>> {
    let wrong = |problem: &str| Error::Bundle(problem.into());
    let bundle: Bundle =
        serde_json::from_slice(bundle).map_err(|error| Error::Bundle(error.to_string()))?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(Error::Bundle(format!("it is of the kind {:?}", bundle.media_type)));
    }
    let no_key = || wrong("it was not signed with a key: certificates are not checked here");
    let hint = bundle.verification_material.public_key.ok_or_else(no_key)?.hint;
    if hint.is_some_and(|hint| !hint.is_empty() && hint != key.hint()) {
        return Err(Error::OtherKey);
    }
    let envelope = bundle.dsse_envelope.ok_or_else(|| wrong("it has no envelope"))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(wrong("its payload is of another kind"));
    }
    let [signature] = &envelope.signatures[..] else {
        return Err(wrong("it has not one signature"));
    };
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| wrong("it is no base64"));
    let (payload, signature) = (decode(&envelope.payload)?, decode(&signature.sig)?);
    match key.verifies(&message(&payload), &signature) {
        true => Ok(payload),
        false => Err(Error::Signature),
    }
}
