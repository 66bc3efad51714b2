//! Base64 in the forms that Go's decoder accepts: line ends are skipped, and bits beyond the last byte are not checked.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, PAD};

/// Decodes base64 for URLs, without padding.
pub(in crate::auth) fn decode_for_urls(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose =
        GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    ENGINE.decode(&*in_one_line(text)).ok()
}

/// Decodes the standard base64, with padding.
pub(super) fn decode_standard(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose =
        GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));
    ENGINE.decode(&*in_one_line(text)).ok()
}

/// Clients read tokens from files, and so with a line end.
fn in_one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], "").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_stray_bits_are_skipped() {
        for text in ["-_-_", "-_\n-_", "-_-_\r\n", "\n-_-_"] {
            assert_eq!(decode_for_urls(text).as_deref(), Some(&[0xfb, 0xff, 0xbf][..]), "{text:?}");
        }
        for text in ["+/8=", "+/\n8=", "+/9=\n"] {
            assert_eq!(decode_standard(text).as_deref(), Some(&[0xfb, 0xff][..]), "{text:?}");
        }
        for text in ["+/8=", " -_-_", "-_-", "-_-_=", "-"] {
            let is_short = text == "-_-";
            assert_eq!(decode_for_urls(text).is_some(), is_short, "{text:?}");
        }
        assert_eq!(decode_standard("+/8"), None);
    }
}
