//! Pages: escaping and the one frame they share.

use std::fmt::{self, Display, Write};

/// Displays a text so that it is only ever text, in element content and in quoted attributes.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Returns a whole page. `title` is escaped here; `main` is markup.
pub(crate) fn page(title: &str, stylesheet: &str, main: &str) -> String {
    let title = Escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"{stylesheet}\">\n\
         </head>\n<body>\n<main>\n{main}</main>\n</body>\n</html>\n"
    )
}

/// The style sheet of both servers' pages: light and dark, readable at 360 pixels.
pub(crate) const STYLESHEET: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn markup_in_a_value_stays_text() {
        let hostile = "<a href='x' title=\"y\">&";
        let expected = "&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;";
        assert_eq!(Escaped(hostile).to_string(), expected);
        assert_eq!(Escaped("Alice Liddell").to_string(), "Alice Liddell");
    }
}
