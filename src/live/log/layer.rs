//! The `tracing` layer that turns each event into a line. A line of a request's work names the request.

use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context};

use super::{
    line::{Line, Style},
    output_queue::OutputQueue,
    request,
};

/// Writes events to an output queue.
pub(super) struct LogLayer {
    pub(super) style: Style,
    pub(super) output: &'static OutputQueue,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = event.metadata().level();
        let mut line = Line::new(self.style, *level);
        event.record(&mut line);
        if let Some(request) = request::current() {
            line.field("request_id", request.id);
            if let Some(operation) = request.operation {
                line.quoted("operation", operation);
            }
        }
        self.output.push(level.into(), line.end());
    }
}
