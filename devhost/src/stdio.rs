//! What guests write goes to standard error, line by line, with the component's name.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// The standard output or error stream of one component's instances.
#[derive(Clone)]
pub struct Lines {
    component: Arc<str>,
}

impl Lines {
    /// A stream whose lines begin with `<component>: `.
    pub fn new(component: Arc<str>) -> Self {
        Self { component }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer {
            component: Arc::clone(&self.component),
            line: Vec::new(),
        })
    }
}

/// Collects until a line is complete: lines of several instances never mix.
struct Writer {
    component: Arc<str>,
    line: Vec<u8>,
}

impl Writer {
    fn print(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        // Standard error may be closed; a component must not fail for that.
        let _ = writeln!(io::stderr(), "{}: {line}", self.component);
        self.line.clear();
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for &byte in bytes {
            if byte == b'\n' || self.line.len() >= LONGEST_LINE {
                self.print();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.print();
        }
    }
}

/// A guest that never ends its line is cut here.
const LONGEST_LINE: usize = 64 * 1024;
