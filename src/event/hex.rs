//! Bytes as lowercase hexadecimal digits, and back.

/// Two lowercase digits for each byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|&byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The bytes that exactly `2 × N` lowercase digits stand for; none for anything else, uppercase digits included.
#[cfg(any(test, feature = "webhook"))]
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(any(test, feature = "webhook"))]
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let bytes: [u8; 256] = std::array::from_fn(|byte| u8::try_from(byte).unwrap());
        let text = encode(&bytes);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(decode(text.as_bytes()), Some(bytes));
    }

    #[test]
    fn nothing_but_the_exact_number_of_lowercase_digits_decodes() {
        for text in ["", "0", "00f", "0g1f", "0F1f", " 01f", "0x1f", "00ff00", "\u{e4}1f"] {
            assert_eq!(decode::<2>(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(decode::<2>(b"001f"), Some([0, 0x1f]));
    }
}
