//! Bounds what one turn of the event loop does of work that has thousands of parts, so that
//! requests are served in between.

/// Small steps in one turn.
const SMALL_STEPS: u32 = 32;

/// How far the present turn has come.
#[derive(Default)]
pub(crate) struct Pace {
    small_steps: u32,
}

impl Pace {
    /// After a step that may call into plugins, or make or free an instance: the turn ends.
    pub(crate) async fn large_step(&mut self) {
        self.small_steps = 0;
        tokio::task::yield_now().await;
    }

    /// After a step that takes less than a microsecond: the turn ends if there were many.
    pub(crate) async fn small_step(&mut self) {
        self.small_steps += 1;
        if self.small_steps >= SMALL_STEPS {
            self.large_step().await;
        }
    }
}
