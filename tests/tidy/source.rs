//! Sources as tokens, paths and functions: what the rules look at.
//!
//! Just enough of Rust's grammar to tell code from comments and quotes, imports from their leaves, and a function's body from what
//! follows. It knows no rule and no name of the project but its folders.
#![expect(clippy::disallowed_methods, reason = "it reads the sources themselves, which no part of the crate has to do")]

use std::ops::RangeInclusive;
use std::path::Path;

/// Folders that hold no text of ours.
const UNREAD: &[&str] = &[
    ".git",
    "target",
    "ledgerline-data",
    "torture-violations",
    "benches/peers/target",
    "fuzz/target",
    "fuzz/artifacts",
    "fuzz/coverage",
];

/// A file of the project; its text is empty if it is none.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    pub(crate) fn at(&self, line: usize, fault: &str) -> String {
        format!("{}:{line}: {fault}", self.path)
    }

    pub(crate) fn tokens(&self) -> Vec<Token<'_>> {
        let mut tokens = tokens(&self.text);
        place(&mut tokens, self.path.ends_with("/tests.rs"));
        tokens
    }
}

/// Every file of the project.
pub(crate) fn project() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the project's folders are readable") {
            let path = entry.expect("the project's folders are readable").path();
            let within = path.strip_prefix(root).expect("the walk stays in the project");
            if UNREAD.iter().any(|unread| within == Path::new(unread)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read(&path).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            let path = within.to_string_lossy().into_owned();
            sources.push(Source { path, text });
        }
    }
    sources
}

/// The sources of the crate and its tools, each with its path of modules. The stratum comes first.
pub(crate) fn strata(sources: &[Source]) -> impl Iterator<Item = (&Source, Vec<&str>)> {
    sources.iter().filter(|source| source.is_rust()).filter_map(|source| {
        let (folder, path) = source.path.trim_end_matches(".rs").split_once('/')?;
        let mut home: Vec<&str> = path.trim_end_matches("/mod").split('/').collect();
        match (folder, path) {
            // A tool of several files is a folder of its own.
            ("tools", _) if home.len() > 1 => home = vec![source.path.rsplit_once('/')?.0, path],
            ("tools", _) => home = vec!["tools"],
            ("src", "main") => home = vec!["command"],
            ("src", _) => {}
            _ => return None,
        }
        Some((source, home))
    })
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Blanks and comments.
    Gap,
    Word,
    /// Text, bytes or a character in quotes.
    Quote,
    Mark,
}

pub(crate) struct Token<'s> {
    pub(crate) kind: Kind,
    pub(crate) text: &'s str,
    pub(crate) line: usize,
    /// How many inline modules are around it.
    pub(crate) depth: usize,
    /// Whether one of them is compiled for tests only.
    pub(crate) in_test: bool,
}

impl Token<'_> {
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    /// Whether a path may go on with it after a `::`.
    fn continues(&self) -> bool {
        self.kind == Kind::Word || self.text == "{" || self.text == "*"
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while !rest.is_empty() {
        let (kind, len) = next(rest);
        let (text, after) = rest.split_at(len);
        if kind != Kind::Gap {
            tokens.push(Token { kind, text, line, depth: 0, in_test: false });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// What `rest` begins with, and how many bytes of it.
fn next(rest: &str) -> (Kind, usize) {
    let run = |part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
    let (blanks, word) = (run(char::is_whitespace), run(|c| c.is_alphanumeric() || c == '_'));
    if blanks > 0 {
        (Kind::Gap, blanks)
    } else if rest.starts_with("//") {
        (Kind::Gap, rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        (Kind::Gap, comment(rest))
    } else if let Some(len) = quote(rest) {
        (Kind::Quote, len)
    } else if word > 0 {
        (Kind::Word, word)
    } else if rest.starts_with("::") {
        (Kind::Mark, 2)
    } else {
        (Kind::Mark, rest.chars().next().map_or(1, char::len_utf8))
    }
}

/// The length of a block comment, with those inside it.
fn comment(rest: &str) -> usize {
    let mut open = 0;
    let (mut len, mut left) = (0, rest);
    while !left.is_empty() {
        let step = if left.starts_with("/*") {
            open += 1;
            2
        } else if left.starts_with("*/") {
            open -= 1;
            2
        } else {
            left.chars().next().map_or(1, char::len_utf8)
        };
        len += step;
        left = left.split_at(step).1;
        if open == 0 {
            break;
        }
    }
    len
}

/// The length of a literal in quotes, with its prefix; none if there is no such literal, as at a lifetime.
fn quote(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - body.len();
    if rest.split_at(prefix).0.contains('r') {
        let inner = body.trim_start_matches('#');
        let hashes = body.len() - inner.len();
        let inner = inner.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(inner.find(&end).map_or(rest.len(), |at| prefix + hashes + 1 + at + end.len()));
    }
    let mut chars = body.char_indices();
    let (_, mark) = chars.next().filter(|(_, mark)| matches!(mark, '"' | '\''))?;
    let lifetime = mark == '\'' && !body.starts_with("'\\") && body.chars().nth(2) != Some('\'');
    if lifetime {
        return None;
    }
    let mut escaped = false;
    for (at, c) in chars {
        if c == mark && !escaped {
            return Some(prefix + at + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    Some(rest.len())
}

/// Tells each token which inline modules are around it.
fn place(tokens: &mut [Token], in_test: bool) {
    let mut modules: Vec<(usize, bool)> = Vec::new();
    let (mut braces, mut for_tests, mut window) = (0, false, ["", "", "", ""]);
    for token in tokens {
        window = [window[1], window[2], window[3], token.text];
        for_tests |= window == ["cfg", "(", "test", ")"];
        match token.text {
            "{" => {
                if window[1] == "mod" {
                    modules.push((braces, for_tests));
                }
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                modules.pop_if(|(outer, _)| *outer == braces);
            }
            _ => {}
        }
        for_tests &= !matches!(token.text, "{" | "}" | ";");
        token.depth = modules.len();
        token.in_test = in_test || modules.iter().any(|(_, for_tests)| *for_tests);
    }
}

/// A path that code names, in an import or in place.
pub(crate) struct Named<'s> {
    pub(crate) segments: Vec<&'s str>,
    pub(crate) line: usize,
    pub(crate) depth: usize,
    pub(crate) in_test: bool,
}

impl<'s> Named<'s> {
    /// The stratum it leads to, or whatever else it names at the root of the crate; none if it stays in the stratum of its file,
    /// whose own path has `home` modules, or leads out of the crate.
    pub(crate) fn target(&self, home: usize) -> Option<&'s str> {
        let supers = self.segments.iter().take_while(|segment| **segment == "super").count();
        match self.segments.first() {
            Some(&"crate") => self.segments.get(1).copied(),
            Some(&"super") if supers >= home + self.depth => self.segments.get(supers).copied(),
            _ => None,
        }
    }
}

pub(crate) fn paths<'s>(tokens: &[Token<'s>]) -> Vec<Named<'s>> {
    let mut named = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token.kind != Kind::Word {
            at += 1;
            continue;
        }
        let mut found = Vec::new();
        at = flatten(tokens, at, &[], &mut found);
        let name = |segments| Named { segments, line: token.line, depth: token.depth, in_test: token.in_test };
        named.extend(found.into_iter().map(name));
    }
    named
}

/// Gathers the paths that begin at `at`, one for each leaf of an import in braces, and returns where they end.
fn flatten<'s>(tokens: &[Token<'s>], at: usize, before: &[&'s str], found: &mut Vec<Vec<&'s str>>) -> usize {
    let Some(token) = tokens.get(at) else { return at };
    if token.text == "{" {
        let mut at = at + 1;
        while let Some(token) = tokens.get(at).filter(|token| token.text != "}") {
            at = if token.continues() { flatten(tokens, at, before, found) } else { at + 1 };
        }
        return at + 1;
    }
    let mut path = before.to_vec();
    path.push(token.text);
    let colons = tokens.get(at + 1).is_some_and(|token| token.text == "::");
    if colons && tokens.get(at + 2).is_some_and(Token::continues) {
        return flatten(tokens, at + 2, &path, found);
    }
    found.push(path);
    at + 1
}

/// A function with a body, from its `fn` to its closing brace.
pub(crate) struct Function<'s> {
    pub(crate) name: &'s str,
    pub(crate) tokens: RangeInclusive<usize>,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

pub(crate) fn functions<'s>(tokens: &[Token<'s>]) -> Vec<Function<'s>> {
    let mut found = Vec::new();
    for (first, pair) in tokens.windows(2).enumerate() {
        if let [word, name] = pair
            && word.is("fn")
            && name.kind == Kind::Word
            && let Some((last, brace)) = end(tokens, first)
        {
            let (first_line, last_line) = (word.line, brace.line);
            found.push(Function { name: name.text, tokens: first..=last, first_line, last_line });
        }
    }
    found
}

/// Where the body of the function at `first` ends; none if it is only declared.
fn end<'t, 's>(tokens: &'t [Token<'s>], first: usize) -> Option<(usize, &'t Token<'s>)> {
    let (mut open, mut in_body) = (0, false);
    for (index, token) in tokens.iter().enumerate().skip(first) {
        match token.text {
            "{" | "(" | "[" => {
                in_body |= token.text == "{" && open == 0;
                open += 1;
            }
            "}" | ")" | "]" => {
                open -= 1;
                if in_body && open == 0 {
                    return Some((index, token));
                }
            }
            ";" if open == 0 => return None,
            _ => {}
        }
    }
    None
}
