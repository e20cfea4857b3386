//! The event loop of a thread that looks after something for as long as the process lives. A panic
//! there, of ours or of a library, costs what was under way: the work begins anew, and the log tells.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::task::LocalSet;

/// What the log says of the work of such a thread.
pub(crate) struct Names {
    /// `health cannot be checked`
    pub(crate) cannot: &'static str,
    /// `checking health`
    pub(crate) doing: &'static str,
}

/// Does the work until it ends. `pause` is waited where the kernel gives no event loop.
pub(crate) fn run(names: &Names, pause: Duration, mut work: impl AsyncFnMut()) {
    let Names { cannot, doing } = names;
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("{cannot}: {error}");
                std::thread::sleep(pause);
                continue;
            }
        };
        let working = AssertUnwindSafe(|| LocalSet::new().block_on(&runtime, work()));
        let has_ended = catch_unwind(working).is_ok();
        // A thread of the loop that waits, as for a name server, is not waited for.
        runtime.shutdown_background();
        if has_ended {
            return;
        }
        tracing::error!("{doing} begins anew after an internal error");
    }
}
