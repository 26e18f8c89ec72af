//! Reads keys and values from the text, one after another.

use std::borrow::Cow;

use crate::policy::words;

use super::{MAX_DEPTH, Origin, Outcome, Spanned, Table, Value};

pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

/// Keys with dots between them: mostly the last alone.
pub(super) struct Keys<'t> {
    pub(super) above: Vec<Spanned<Cow<'t, str>>>,
    pub(super) last: Spanned<Cow<'t, str>>,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn take_all(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word.as_bytes());
        self.at += if there { word.len() } else { 0 };
        there
    }

    fn expect(&mut self, byte: u8, message: &'static str) -> Outcome<()> {
        if self.take(byte) {
            Ok(())
        } else {
            Err((self.at, message))
        }
    }

    /// Goes past the bytes from here on that `belong`.
    #[inline(always)]
    fn skip(&mut self, belong: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&belong) {
            self.at += 1;
        }
    }

    /// Goes past what is printable ASCII and neither quote nor backslash.
    fn skip_printable(&mut self) {
        loop {
            // Behind the end there are zeros, which are none of this.
            let other = words::special(words::at(self.text.as_bytes(), self.at), b' ');
            if other != 0 {
                self.at += other.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
    }

    fn slice(&self, start: usize, end: usize) -> &'t str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.skip(|byte| byte == b' ' || byte == b'\t');
    }

    /// The end of a line: `\n` or `\r\n`.
    fn newline(&mut self) -> bool {
        let length = match self.peek() {
            Some(b'\n') => 1,
            Some(b'\r') if self.rest().starts_with(b"\r\n") => 2,
            _ => 0,
        };
        self.at += length;
        length > 0
    }

    fn comment(&mut self) -> Outcome<()> {
        if self.peek() == Some(b'#') {
            // Quotes are rare in comments.
            self.skip_printable();
            self.skip(|byte| !is_control(byte));
        }
        match self.peek() {
            None | Some(b'\n') => Ok(()),
            Some(b'\r') if self.rest().starts_with(b"\r\n") => Ok(()),
            _ => Err((self.at, "expected the end of the line")),
        }
    }

    pub(super) fn end_of_line(&mut self) -> Outcome<()> {
        self.skip_blanks();
        self.comment()
    }

    /// Blank lines and comments, as far as they are right.
    pub(super) fn skip_lines(&mut self) {
        loop {
            self.skip_blanks();
            let start = self.at;
            if self.peek() == Some(b'#') && self.comment().is_err() {
                self.at = start;
                return;
            }
            if !self.newline() && self.at == start {
                return;
            }
        }
    }

    pub(super) fn skip_rest_of_line(&mut self) {
        self.skip(|byte| byte != b'\n');
    }

    /// White space, comments and line ends, inside brackets and braces.
    fn skip_space(&mut self) -> Outcome<()> {
        loop {
            self.skip_blanks();
            if self.peek() == Some(b'#') {
                self.comment()?;
            }
            if !self.newline() {
                return Ok(());
            }
        }
    }

    /// `[a.b]` or `[[a.b]]`: the keys, and whether it was the latter.
    pub(super) fn header(&mut self) -> Outcome<(Keys<'t>, bool)> {
        self.at += 1;
        let repeated = self.take(b'[');
        let keys = self.keys()?;
        self.expect(b']', "expected `]`")?;
        if repeated {
            self.expect(b']', "expected `]]`")?;
        }
        Ok((keys, repeated))
    }

    /// Keys with dots between them, and blanks around each.
    fn keys(&mut self) -> Outcome<Keys<'t>> {
        let mut above = Vec::new();
        loop {
            self.skip_blanks();
            let start = self.at;
            let value = match self.peek() {
                Some(quote @ (b'"' | b'\'')) => {
                    self.at += 1;
                    self.line(quote)?
                }
                _ => {
                    self.skip(|byte| BARE[usize::from(byte)]);
                    Cow::Borrowed(self.slice(start, self.at))
                }
            };
            if self.at == start {
                return Err((start, "expected a key"));
            }
            let last = Spanned { start, value };
            self.skip_blanks();
            if !self.take(b'.') {
                return Ok(Keys { above, last });
            }
            above.push(last);
        }
    }

    /// `key = value`, into `table`.
    pub(super) fn member(&mut self, table: &mut Table<'t>, depth: usize) -> Outcome<()> {
        let Keys { above, last } = self.keys()?;
        self.expect(b'=', "expected `=`")?;
        self.skip_blanks();
        let value = self.value(depth)?;
        table.by_dots(above)?.insert(last, value)
    }

    fn value(&mut self, depth: usize) -> Outcome<Spanned<Value<'t>>> {
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err((start, "lists and tables in each other too deep"));
        }
        let value = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => Value::String(self.string(quote)?),
            Some(b'[') => self.array(depth)?,
            Some(b'{') => self.inline_table(depth)?,
            Some(_) => self.scalar()?,
            None => return Err((start, "expected a value")),
        };
        Ok(Spanned { start, value })
    }

    fn array(&mut self, depth: usize) -> Outcome<Value<'t>> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_space()?;
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.skip_space()?;
            if !self.take(b',') {
                self.expect(b']', "expected `,` or `]`")?;
                return Ok(Value::Array(items));
            }
        }
    }

    fn inline_table(&mut self, depth: usize) -> Outcome<Value<'t>> {
        self.at += 1;
        let mut table = Table::new(Origin::Dotted);
        loop {
            self.skip_space()?;
            if self.take(b'}') {
                break;
            }
            self.member(&mut table, depth + 1)?;
            self.skip_space()?;
            if !self.take(b',') {
                self.expect(b'}', "expected `,` or `}`")?;
                break;
            }
        }
        close(&mut table);
        Ok(Value::Table(table))
    }

    fn scalar(&mut self) -> Outcome<Value<'t>> {
        let start = self.at;
        let part = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'_' | b'.' | b':')
        };
        self.skip(part);
        let word = self.slice(start, self.at);
        Ok(match word {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => match integer(word) {
                Some(number) => Value::Integer(number),
                None if is_other(word) => Value::Other,
                None => return Err((start, "expected a value")),
            },
        })
    }

    fn string(&mut self, quote: u8) -> Outcome<Cow<'t, str>> {
        let (three, two) = if quote == b'"' {
            ("\"\"\"", "\"\"")
        } else {
            ("'''", "''")
        };
        self.take(quote);
        // Two of them are a string with nothing in it, unless there is a third.
        if self.peek() != Some(quote) || !self.take_all(two) {
            return self.line(quote);
        }
        // A line end right behind the quotes does not count.
        self.newline();
        let mut text = String::new();
        loop {
            let start = self.at;
            self.skip(|byte| byte != quote && byte != b'\\' && !is_control(byte));
            let end = self.at;
            text.push_str(self.slice(start, end));
            if self.take_all(three) {
                // Up to two quotes may stand right before the end.
                for _ in 0..2 {
                    if self.take(quote) {
                        text.push(char::from(quote));
                    }
                }
                return Ok(Cow::Owned(text));
            }
            match self.peek() {
                Some(b'\\') if quote == b'"' => {
                    if !self.folded() {
                        text.push(self.escape()?);
                    }
                }
                Some(byte) if byte == quote || byte == b'\\' => {
                    self.at += 1;
                    text.push(char::from(byte));
                }
                _ if self.newline() => text.push_str(self.slice(end, self.at)),
                _ => return Err((self.at, "expected three quotes at the end of the string")),
            }
        }
    }

    /// A backslash at the end of a line, which takes the white space after it away.
    fn folded(&mut self) -> bool {
        let start = self.at;
        self.at += 1;
        self.skip_blanks();
        if !self.newline() {
            self.at = start;
            return false;
        }
        loop {
            self.skip_blanks();
            if !self.newline() {
                return true;
            }
        }
    }

    /// The rest of a string on one line, its closing `quote` included.
    fn line(&mut self, quote: u8) -> Outcome<Cow<'t, str>> {
        let mut text = Cow::Borrowed("");
        let escapes = quote == b'"';
        loop {
            let start = self.at;
            if escapes {
                self.skip_printable();
            }
            self.skip(|byte| byte != quote && !(escapes && byte == b'\\') && !is_control(byte));
            let part = self.slice(start, self.at);
            if text.is_empty() {
                text = Cow::Borrowed(part);
            } else {
                text.to_mut().push_str(part);
            }
            if self.take(quote) {
                return Ok(text);
            }
            if !escapes || self.peek() != Some(b'\\') {
                return Err((self.at, "expected a quote at the end of the string"));
            }
            let escaped = self.escape()?;
            text.to_mut().push(escaped);
        }
    }

    /// A backslash and what belongs to it.
    fn escape(&mut self) -> Outcome<char> {
        let start = self.at;
        let fault = (start, "expected another character behind the backslash");
        self.at += 1;
        let kind = self.peek().ok_or(fault)?;
        let digits = match kind {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let text = self.slice(start + 2, start + 2 + digits);
            let hexadecimal = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
            let code = u32::from_str_radix(text, 16).ok().filter(|_| hexadecimal);
            self.at = start + 2 + digits;
            return code.and_then(char::from_u32).ok_or(fault);
        }
        let character = match kind {
            b'b' => '\u{8}',
            b't' => '\t',
            b'n' => '\n',
            b'f' => '\u{c}',
            b'r' => '\r',
            b'e' => '\u{1b}',
            b'"' => '"',
            b'\\' => '\\',
            _ => return Err(fault),
        };
        self.at += 1;
        Ok(character)
    }
}

/// Makes a table in braces complete, with those that its dotted keys made.
fn close(table: &mut Table<'_>) {
    table.origin = Origin::Inline;
    for (_, value) in &mut table.members {
        if let Value::Table(inner) = &mut value.value {
            close(inner);
        }
    }
}

/// What keys without quotes are made of.
const BARE: [bool; 256] = {
    let mut bare = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        bare[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'_');
        byte += 1;
    }
    bare
};

/// True for control characters other than a tab: they stand in no string and no comment.
fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=8 | 10..=31 | 127)
}

/// A whole number: decimal with a sign, or hexadecimal, octal or binary without one.
fn integer(word: &str) -> Option<i64> {
    let (sign, digits) = match word.as_bytes() {
        [b'+' | b'-', ..] => word.split_at(1),
        _ => ("", word),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x', ..] if sign.is_empty() => (16, &digits[2..]),
        [b'0', b'o', ..] if sign.is_empty() => (8, &digits[2..]),
        [b'0', b'b', ..] if sign.is_empty() => (2, &digits[2..]),
        [b'0', _, ..] => return None,
        _ => (10, digits),
    };
    // Underscores stand between digits.
    let part_fits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| char::from(byte).is_digit(radix));
    if !digits.split('_').all(part_fits) {
        return None;
    }
    let plain = [sign, digits].concat().replace('_', "");
    i64::from_str_radix(&plain, radix).ok()
}

/// True for what may be a fraction, a date, a time or a number too large.
fn is_other(word: &str) -> bool {
    let unsigned = word.trim_start_matches(['+', '-']);
    matches!(unsigned, "inf" | "nan") || unsigned.bytes().next().is_some_and(|b| b.is_ascii_digit())
}
