//! The log: one JSON object per line on standard error.

use std::io::Write;

use airside::ports::{Clock, Event, EventSink};

use crate::Host;

pub(crate) struct StandardError;

impl EventSink for StandardError {
    fn emit(&self, event: &Event) {
        let mut line = serde_json::Map::new();
        line.insert("time".to_owned(), Host.now().as_secs().into());
        line.insert("code".to_owned(), event.code.into());
        if !event.request_id.is_empty() {
            line.insert("request_id".to_owned(), event.request_id.as_str().into());
        }
        for (name, value) in &event.fields {
            line.insert((*name).to_owned(), value.as_str().into());
        }
        // The encoder escapes control characters: nobody writes lines of their own. A log that
        // cannot be written does not stop the request (`eprintln!` would panic). Its end goes with
        // it in one write: between two, a host can write the line of another instance.
        let mut text = serde_json::Value::Object(line).to_string();
        text.push('\n');
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
