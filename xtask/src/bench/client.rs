//! A blocking HTTP/1.1 client over one kept connection to loopback: enough to log in with and
//! light enough not to be what is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A kept connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request for a loopback port, ready to be sent any number of times.
pub(crate) fn request(
    method: &str,
    port: u16,
    target: &str,
    headers: &[(&str, &str)],
    form: &str,
) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !form.is_empty() {
        text += "Content-Type: application/x-www-form-urlencoded\r\n";
        text += &format!("Content-Length: {}\r\n", form.len());
    }
    text += "\r\n";
    text += form;
    text.into_bytes()
}

impl Connection {
    /// Connects to a loopback port.
    pub(crate) fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("connecting to port {port}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a request and reads the whole response.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<Response> {
        self.stream.get_mut().write_all(request)?;
        read(&mut self.stream)
    }
}

impl Response {
    /// The values of a header, by its name in lower case.
    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the connection serves another request.
    pub(crate) fn keeps_connection(&self) -> bool {
        !self
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as far as it is text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn read(stream: &mut impl BufRead) -> Result<Response> {
    let status_line = line(stream)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status line: {status_line}"))?;
    let mut response = Response {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else {
            if line.is_empty() {
                break;
            }
            bail!("no header line: {line}");
        };
        response
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if let Some(length) = response.header("content-length") {
        let length: u64 = length.parse().context("Content-Length")?;
        let read = stream.take(length).read_to_end(&mut response.body)?;
        if u64::try_from(read)? != length {
            bail!("the body ended early");
        }
    } else if response.header("transfer-encoding").is_some() {
        while let length @ 1.. = chunk_length(&line(stream)?)? {
            stream.take(length).read_to_end(&mut response.body)?;
            line(stream)?;
        }
        line(stream)?;
    } else if ![204, 304].contains(&status) {
        bail!("a {status} response without a length");
    }
    Ok(response)
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        bail!("the connection was closed");
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

fn chunk_length(line: &str) -> Result<u64> {
    let digits = line.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).context("chunk length")
}

const TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, status: u16, body: &str) {
        let response = read(&mut bytes.as_bytes()).unwrap();
        assert_eq!((response.status, response.text().as_str()), (status, body));
    }

    #[test]
    fn bodies_end_by_length_by_chunks_or_are_not_there() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP",
            200,
            "ok",
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x\r\n...\r\n0\r\n\r\n",
            200,
            "ok...",
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
    }

    #[test]
    fn a_truncated_response_is_an_error() {
        let short = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok";
        assert!(read(&mut short.as_bytes()).is_err());
        assert!(read(&mut "".as_bytes()).is_err());
    }
}
