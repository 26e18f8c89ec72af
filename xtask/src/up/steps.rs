//! What to try once the demo runs.

use crate::up::Ports;

/// URLs, users, and lines to paste into another terminal; `demo` is the path of airside-demo.
pub(crate) fn text(ports: Ports, demo: &str) -> String {
    let gateway = Ports::url(ports.gateway);
    let provider = Ports::url(ports.provider);
    let token = |more: &str| {
        format!(
            "{demo} token --provider {provider} --user alice --audience {AUDIENCE} {more}",
            demo = shell_quoted(demo)
        )
    };
    let api = format!("{gateway}/api/invoices/");
    let mut text = format!(
        "airside is running; Ctrl-C stops it.\n\n  \
         Start here   {gateway}/\n  \
         Log in       {gateway}/invoices\n  \
         Users        alice, bob, carol (the demo provider asks for no password)\n  \
         Provider     {provider}\n  \
         Upstream     {upstream} (not to be reached by others: the gate is in front)\n\n\
         To paste into another terminal:\n",
        upstream = Ports::url(ports.upstream),
    );
    let line = |what: &str, curl: String| format!("\n# {what}\n{curl}\n");
    text += &line(
        "the login page: 303 to the provider",
        format!("curl -i -H 'Accept: text/html' '{gateway}/auth/login?return_to=/invoices'"),
    );
    text += &line(
        "the API with a good token: 200",
        curl(&token("--scope 'openid read:invoices'"), &api),
    );
    text += &line(
        "the API with a token that lacks the scope: 403 insufficient_scope",
        curl(&token("--scope 'openid profile'"), &api),
    );
    text += &line(
        "the API with an ID token, which is not for APIs: 401 invalid_token",
        curl(&token("--scope 'openid read:invoices' --id-token"), &api),
    );
    text
}

fn curl(token: &str, url: &str) -> String {
    format!("curl -i -H \"Authorization: Bearer $({token})\" {url}")
}

/// The text as one word of a shell.
fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The audience of the demo's API in airside.toml.
const AUDIENCE: &str = "https://api.example.com/invoices";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_this_demo_s_ports_and_program() {
        let text = text(Ports::from_first(4000).unwrap(), "/x y/airside-demo");
        let good = "curl -i -H \"Authorization: Bearer $('/x y/airside-demo' token \
                    --provider http://127.0.0.1:4001 --user alice \
                    --audience https://api.example.com/invoices \
                    --scope 'openid read:invoices')\" http://127.0.0.1:4000/api/invoices/";
        assert!(text.lines().any(|line| line == good), "{text}");
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("curl "))
                .count(),
            4
        );
    }

    #[test]
    fn a_word_for_the_shell_is_quoted_only_where_needed() {
        assert_eq!(shell_quoted("/a/b-c"), "/a/b-c");
        assert_eq!(shell_quoted("/a b"), "'/a b'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
    }
}
