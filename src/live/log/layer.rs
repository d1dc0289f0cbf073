//! The `tracing` layer that turns each event into a line. A line inside the span of a request names the request.

use tracing::{
    Event, Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{
    REQUEST,
    line::{Line, Style},
    output_queue::OutputQueue,
};

/// Writes events to an output queue.
pub(super) struct LogLayer {
    pub(super) style: Style,
    pub(super) output: &'static OutputQueue,
}

/// The fields of a request's span, formatted once for all its lines.
struct Fields(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() == REQUEST
            && let Some(span) = context.span(id)
        {
            let mut fields = Line::fragment(self.style);
            attributes.record(&mut fields);
            span.extensions_mut().insert(Fields(fields.into_fragment()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = event.metadata().level();
        let mut line = Line::new(self.style, *level);
        event.record(&mut line);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Fields(fields)) = span.extensions().get() {
                line.add(fields);
                break;
            }
        }
        self.output.push(level.into(), line.end());
    }
}
