//! A file: one that is packed is shown by its tensors, another one as text where it is some.

use at1w_registry::Original;
use maud::html;

use super::parts::shown_lines;
use super::place::Place;
use super::{heads, model, shell, tensor};
use crate::call::Call;
use crate::error::{Answer, Problem};
use crate::files::Opened;

/// The part of a text that is shown, in bytes.
const SHOWN: u64 = 128 << 10;

pub(super) fn page(call: &Call, place: &Place, path: &str) -> Answer {
    let file = place.tree.files.get(path).ok_or_else(|| Problem::no_entry(path))?;
    place.check_signed(call)?;
    let mut opened = Opened::of(call, place.namespace().to_owned(), file.clone());
    if file.root.is_some() {
        call.hub.check_damage(place.namespace(), file.sha256)?;
        let original = call.hub.original(place.namespace(), file)?;
        if let Original::Packed(reader) = &*original {
            return match call.query.get("tensor") {
                Some(name) => tensor::page(call, place, path, name, &mut opened),
                None => model::page(call, place, path, reader),
            };
        }
    }
    let start = opened.start(SHOWN)?;
    let content = html! {
        (heads::of_repo(place))
        (heads::of_file(place, path, file))
        @match start.as_deref().and_then(text) {
            Some(text) => {
                pre.card tabindex="0" role="region" aria-label="Content" { (shown_lines(text)) }
                @if file.size > SHOWN { p.note { "This is the beginning of it." } }
            }
            None => p { "It is no text that can be shown here." },
        }
    };
    Ok(shell::page(call, &format!("{path} · {}", place.id.shown()), &content))
}

/// Returns the text that bytes are, but for a character that was cut at the end.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn texts_may_be_cut_within_a_character() {
        assert_eq!(text("aü".as_bytes()), Some("aü"));
        assert_eq!(text(&"aü".as_bytes()[..2]), Some("a"));
        assert_eq!(text(b"a\xffb"), None);
        assert_eq!(text(b"a\0b"), None);
    }
}
