//! Requests that no honest sender makes, and what may come of each.

use ledgerline::webhook::Secret;

use super::dice::Dice;
use super::{service, witness};

/// What a receiver may do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum May {
    /// It is refused: whatever is answered, it is not 200.
    Refuse,
    /// It is refused, and what follows it on the connection is not looked at.
    RefuseAlone,
    /// It was signed: it may be kept, once.
    Keep,
    /// It is not whole, and the sender goes away.
    Nothing,
}

/// One request, byte by byte.
pub(crate) struct Hostile {
    pub(crate) shape: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) may: May,
    /// What was signed, if it was.
    pub(crate) signed: Option<Vec<u8>>,
}

/// The parts of a request, but for its shape: in their order.
type Made = (Vec<u8>, May, Option<Vec<u8>>);

type Shape = fn(&mut Dice, &Secret, u64) -> Made;

#[rustfmt::skip]
const SHAPES: [(&str, Shape); 16] = [
    ("bad signature", bad_signature),
    ("signatures that contradict each other", two_signatures),
    ("signature of another body", other_body),
    ("wrong method", wrong_method),
    ("other path", other_path),
    ("oversized", oversized),
    ("two lengths", two_lengths),
    ("length and chunks", length_and_chunks),
    ("folded or bare line ends", line_ends),
    ("broken chunks", broken_chunks),
    ("many headers", many_headers),
    ("other protocol", other_protocol),
    ("a byte changed", byte_changed),
    ("deep or broken json", odd_json),
    ("sent again under another name", sent_again),
    ("cut off", cut_off),
];

/// The request of a case.
pub(crate) fn drawn(seed: u64, case: u64, secret: &Secret) -> Hostile {
    let mut dice = Dice::of(seed, case);
    let at = usize::try_from(dice.below(SHAPES.len() as u64)).unwrap_or(0);
    let (shape, make) = SHAPES.get(at).copied().unwrap_or(("bad signature", bad_signature));
    let (bytes, may, signed) = make(&mut dice, secret, case);
    Hostile { shape, bytes, may, signed }
}

const HEAD: &str = "POST /webhooks/linear HTTP/1.1\r\nhost: test\r\nconnection: close\r\n";
/// A second request that must not be taken for one.
const BEHIND: &str = "POST /webhooks/linear HTTP/1.1\r\nhost: test\r\ncontent-length: 16\r\n\r\n{\"type\":\"Issue\"}";

/// The names of events that are signed here; those of honest senders have smaller numbers.
pub(crate) fn id(case: u64, dice: &mut Dice) -> String {
    witness::id(FIRST + case, dice.between(0, 600))
}

/// The number of the first case's event.
const FIRST: u64 = 1 << 40;
/// What begins the name under which a delivery comes again, before the number of its case.
const AGAIN: &str = "replayed-";

/// The case whose event this text, an id or a body, names; none if it is an honest sender's.
pub(crate) fn case_of(text: &str) -> Option<u64> {
    let number = |rest: &str| {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits)?.parse::<u64>().ok()
    };
    let of = |begin: &str| text.split(begin).skip(1).find_map(number);
    of(AGAIN).or_else(|| of("event-").and_then(|number| number.checked_sub(FIRST)))
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("{HEAD}{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn text(dice: &mut Dice, length: u64) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789-_.~%/?#[]@!$&'()*+;= \"\\{}|^";
    let letter = |dice: &mut Dice| letters.get(usize::try_from(dice.below(letters.len() as u64)).unwrap_or(0)).copied();
    (0..length).filter_map(|_| letter(dice)).map(char::from).collect()
}

fn hex(dice: &mut Dice) -> String {
    format!("{:032x}{:032x}", u128::from(dice.roll()) << 64 | u128::from(dice.roll()), u128::from(dice.roll()) << 64)
}

fn bad_signature(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let body = witness::body(&id(case, dice));
    let signature = secret.sign(body.as_bytes());
    let header = match dice.below(8) {
        0 => String::new(),
        1 => "linear-signature: \r\n".to_owned(),
        2 => format!("linear-signature: {}\r\n", signature.to_uppercase()),
        3 => format!("linear-signature: sha256={signature}\r\n"),
        4 => format!("linear-signature: {}\r\n", signature.get(..63).unwrap_or_default()),
        5 => format!("linear-signature: {signature}0\r\n"),
        6 => format!("linear-signature: {}\r\n", text(dice, 64).trim()),
        _ => format!("linear-signature: {}\r\n", hex(dice)),
    };
    (post(&header, &body), May::Refuse, None)
}

fn two_signatures(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let body = witness::body(&id(case, dice));
    let (right, wrong) = (secret.sign(body.as_bytes()), hex(dice));
    let (first, second) = if dice.one_in(2) { (right, wrong) } else { (wrong, right) };
    let headers = if dice.one_in(3) {
        format!("linear-signature: {first}, {second}\r\n")
    } else {
        format!("linear-signature: {first}\r\nLinear-Signature: {second}\r\n")
    };
    (post(&headers, &body), May::Refuse, None)
}

fn other_body(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let body = witness::body(&id(case, dice));
    let signature = secret.sign(body.as_bytes());
    let other = match dice.below(4) {
        0 => body.replace("create", "remove"),
        1 => format!("{body}\n"),
        2 => body.replace("\"filler\"", "\"webhookTimestamp\":1,\"filler\""),
        _ => body.trim_end_matches('}').to_owned(),
    };
    (post(&format!("linear-signature: {signature}\r\n"), &other), May::Refuse, None)
}

fn wrong_method(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let body = witness::body(&id(case, dice));
    let signature = secret.sign(body.as_bytes());
    let methods = ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "post", "POSTS", "P\u{0}ST"];
    let method = methods.get(usize::try_from(dice.below(methods.len() as u64)).unwrap_or(0)).copied().unwrap_or("GET");
    let bytes = String::from_utf8_lossy(&post(&format!("linear-signature: {signature}\r\n"), &body)).into_owned();
    (bytes.replacen("POST", method, 1).into_bytes(), May::Refuse, None)
}

fn other_path(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let body = witness::body(&id(case, dice));
    let signature = secret.sign(body.as_bytes());
    let path = match dice.below(7) {
        0 => "/webhooks/linear/".to_owned(),
        1 => "/webhooks/../webhooks/linear".to_owned(),
        2 => "/webhooks%2flinear".to_owned(),
        3 => "//webhooks/linear".to_owned(),
        4 => "*".to_owned(),
        5 => format!("/{}", "a/".repeat(usize::try_from(dice.below(4_000)).unwrap_or(0))),
        _ => format!("/x{}", text(dice, 40)),
    };
    let bytes = String::from_utf8_lossy(&post(&format!("linear-signature: {signature}\r\n"), &body)).into_owned();
    (bytes.replacen("/webhooks/linear", &path, 1).into_bytes(), May::Refuse, None)
}

fn oversized(dice: &mut Dice, _: &Secret, _: u64) -> Made {
    let claimed = format!("{HEAD}content-length: {}\r\n\r\n{}", (1 << 20) + 1 + dice.below(1 << 40), text(dice, 20));
    let bytes = match dice.below(40) {
        // All of it is sent.
        0 => post("", &"x".repeat((1 << 20) + 1)),
        // Chunk after chunk, beyond every bound.
        1 => {
            let chunk = format!("10000\r\n{}\r\n", "y".repeat(1 << 16));
            format!("{HEAD}transfer-encoding: chunked\r\n\r\n{}", chunk.repeat(20)).into_bytes()
        }
        2 => format!("{HEAD}content-length: 99999999999999999999999\r\n\r\n").into_bytes(),
        _ => claimed.into_bytes(),
    };
    (bytes, May::Refuse, None)
}

fn two_lengths(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let body = witness::body(&id(case, dice));
    let signature = secret.sign(body.as_bytes());
    let (long, short) = (body.len() + BEHIND.len(), body.len());
    let lengths = match dice.below(5) {
        0 => format!("content-length: {short}\r\ncontent-length: {long}\r\n"),
        1 => format!("content-length: {long}\r\nContent-Length: {short}\r\n"),
        2 => format!("content-length: {short}, {long}\r\n"),
        3 => format!("content-length: +{short}\r\n"),
        _ => format!("content-length : {short}\r\n"),
    };
    (format!("{HEAD}linear-signature: {signature}\r\n{lengths}\r\n{body}{BEHIND}").into_bytes(), May::RefuseAlone, None)
}

fn length_and_chunks(dice: &mut Dice, _: &Secret, _: u64) -> Made {
    let encodings =
        ["chunked", "xchunked", "chunked, identity", "identity", "Chunked", "chunked\r\ntransfer-encoding: x"];
    let encoding = encodings.get(usize::try_from(dice.below(6)).unwrap_or(0)).copied().unwrap_or("chunked");
    let (first, second) =
        (format!("transfer-encoding: {encoding}\r\n"), format!("content-length: {}\r\n", dice.below(60)));
    let headers = if dice.one_in(2) { format!("{first}{second}") } else { format!("{second}{first}") };
    // Without a wish of the sender that the connection be closed: the receiver has to see to that.
    let head = HEAD.replace("connection: close\r\n", "");
    (format!("{head}{headers}\r\n0\r\n\r\n{BEHIND}").into_bytes(), May::RefuseAlone, None)
}

fn line_ends(dice: &mut Dice, _: &Secret, _: u64) -> Made {
    let bytes = match dice.below(5) {
        0 => format!("{HEAD}x: a\r\n b\r\ncontent-length: 2\r\n\r\n{{}}"),
        1 => format!("{HEAD}content-length:\r\n 2\r\n\r\n{{}}"),
        2 => format!("{HEAD}content-length: 2\r\n\r\n{{}}").replace("\r\n", "\n"),
        3 => format!("{HEAD}content-length: 2\r\rx: y\r\n\r\n{{}}"),
        _ => format!("{HEAD}x: \u{0}\r\ncontent-length: 2\r\n\r\n{{}}"),
    };
    (bytes.into_bytes(), May::RefuseAlone, None)
}

fn broken_chunks(dice: &mut Dice, _: &Secret, _: u64) -> Made {
    let chunks = match dice.below(7) {
        0 => "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n".to_owned(),
        1 => "-1\r\nabc\r\n0\r\n\r\n".to_owned(),
        2 => "5\nabcde\n0\n\n".to_owned(),
        3 => format!("5;{}\r\nabcde\r\n0\r\n\r\n", "a".repeat(20_000)),
        4 => "5\r\nabcdefgh\r\n0\r\n\r\n".to_owned(),
        5 => format!("0\r\n{}\r\n", "t: x\r\n".repeat(5_000)),
        _ => format!("{}\r\n\r\n", text(dice, 30)),
    };
    (format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}").into_bytes(), May::Refuse, None)
}

fn many_headers(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let body = witness::body(&id(case, dice));
    let headers = if dice.one_in(2) {
        "x-many: y\r\n".repeat(usize::try_from(dice.between(110, 2_000)).unwrap_or(0))
    } else {
        format!("x-long: {}\r\n", "z".repeat(usize::try_from(dice.between(140_000, 300_000)).unwrap_or(0)))
    };
    (post(&format!("{headers}linear-signature: {}\r\n", secret.sign(body.as_bytes())), &body), May::Refuse, None)
}

fn other_protocol(dice: &mut Dice, _: &Secret, _: u64) -> Made {
    let bytes = match dice.below(6) {
        0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        1 => [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat(),
        2 => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        3 => b"POST /webhooks/linear HTTP/9.9\r\n\r\n".to_vec(),
        4 => b"*1\r\n$4\r\nPING\r\n".to_vec(),
        _ => (0..dice.between(16, 600)).map(|_| dice.roll().to_le_bytes()[0]).chain(*b"\r\n\r\n").collect(),
    };
    (bytes, May::Nothing, None)
}

fn byte_changed(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let id = id(case, dice);
    let mut bytes = service::delivery(secret, &id);
    for _ in 0..dice.between(1, 3) {
        let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap_or(0);
        let [byte, ..] = dice.roll().to_le_bytes();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
    }
    // It may ask for more than is sent, or for less; only what was signed may be kept.
    (bytes, May::Nothing, Some(witness::body(&id).into_bytes()))
}

fn odd_json(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let depth = usize::try_from(dice.between(100, 100_000)).unwrap_or(0);
    let id = id(case, dice);
    let body = match dice.below(6) {
        0 => format!("{{\"type\":\"Issue\",\"title\":\"{id}\",\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth)),
        1 => "[".repeat(depth),
        2 => "{\"a\":".repeat(depth),
        3 => format!("{{\"type\":\"Issue\",\"title\":\"{id}\",\"type\":\"{}\"}}", text(dice, 5)),
        4 => format!("{{\"type\":\"{}\",\"title\":\"{id}\"}}", "t".repeat(depth)),
        _ => text(dice, 300),
    };
    let signature = secret.sign(body.as_bytes());
    let bytes = post(&format!("linear-signature: {signature}\r\nlinear-delivery: {id}\r\n"), &body);
    (bytes, May::Keep, Some(body.into_bytes()))
}

/// A delivery that is signed, twice on one connection, and the second time under another name.
fn sent_again(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let id = id(case, dice);
    let first = service::delivery(secret, &id);
    let again = String::from_utf8_lossy(&first).replacen(&id, &format!("{AGAIN}{case}"), 1);
    let again = again.replacen("host: test", "host: test\r\nconnection: close", 1);
    ([first, again.into_bytes()].concat(), May::Keep, Some(witness::body(&id).into_bytes()))
}

fn cut_off(dice: &mut Dice, secret: &Secret, case: u64) -> Made {
    let mut bytes = service::delivery(secret, &id(case, dice));
    bytes.truncate(usize::try_from(dice.below(bytes.len() as u64)).unwrap_or(0));
    (bytes, May::Nothing, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_case_names_it() {
        let mut dice = Dice::of(1, 7);
        let id = id(7, &mut dice);
        for (text, case) in [
            (id.as_str(), Some(7)),
            (&witness::body(&id), Some(7)),
            ("replayed-12", Some(12)),
            (&witness::id(7, 500), None),
            ("event-", None),
            ("event-99999999999999999999999-1", None),
            ("{}", None),
        ] {
            assert_eq!(case_of(text), case, "{text:.80}");
        }
    }
}
