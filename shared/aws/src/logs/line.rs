//! The form of a line: one flat JSON object.
//!
//! First come `timestamp`, `level` and `message`, as in Lambda's own JSON logs. Then come the fields of the spans that the
//! line was written in, from the outermost on, and the fields of the line itself. Each name is there once; of two values the
//! inner one stays. So a query names a field by its name alone: `filter delivery = "…"`. A line of a library says so in
//! `target`.

use std::fmt::Debug;
use std::io::Write as _;

use pombo_domain::time::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::is_ours;
use crate::clock;

/// The name of the field that `tracing` gives the text of a line.
const MESSAGE: &str = "message";

/// Names that no field can take.
const RESERVED: [&str; 4] = ["timestamp", "level", MESSAGE, "target"];

/// Writes each event as a line.
pub(super) struct Lines<W> {
    writer: W,
}

impl<W> Lines<W> {
    pub(super) const fn to(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let fields = Fields::of(|fields| attributes.record(fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let fields = Fields::of(|fields| values.record(fields));
        let Some(span) = context.span(id) else { return };
        if let Some(known) = span.extensions_mut().get_mut::<Fields>() {
            known.add(&fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let own = Fields::of(|fields| event.record(fields));
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.add(outer);
            }
        }
        fields.add(&own);
        let line = Line { time: clock::now(), metadata: event.metadata(), message: own.get(MESSAGE), fields: &fields };
        let Ok(mut line) = serde_json::to_vec(&line) else { return };
        line.push(b'\n');
        // In one piece, so that no other line comes into it. Nobody would hear that the output is closed.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(&line);
    }
}

/// A line that is about to be written.
struct Line<'a> {
    time: Timestamp,
    metadata: &'a Metadata<'a>,
    message: Option<&'a Value>,
    fields: &'a Fields,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        // Lambda takes a line without a time for INFO, and drops it where the log is set to WARN or ERROR ("Log-level
        // filtering" in the Developer Guide).
        line.serialize_entry("timestamp", &self.time)?;
        line.serialize_entry("level", self.metadata.level().as_str())?;
        line.serialize_entry(MESSAGE, &self.message)?;
        if !is_ours(self.metadata.target()) {
            line.serialize_entry("target", self.metadata.target())?;
        }
        for (name, value) in self.fields.0.iter().filter(|(name, _)| !RESERVED.contains(name)) {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

/// Fields of a span or an event, by their names.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// The fields that `record` names.
    fn of(record: impl FnOnce(&mut Self)) -> Self {
        let mut fields = Self::default();
        record(&mut fields);
        fields
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.0.push((name, value)),
        }
    }

    fn add(&mut self, others: &Self) {
        for (name, value) in &others.0 {
            self.set(name, value.clone());
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field.name(), format!("{value:?}").into());
    }
}
