//! How much of a worker's time a plugin may take: its `budget`, a share of the worker's time.
//!
//! A deadline bounds one call. A plugin that stays just below it can still take all of a worker's
//! time, and with it the requests of every other upstream. So each worker keeps an account for each
//! of its plugins: it gains time at the rate of the budget, up to what one second brings, and pays
//! for calls. While it is in debt the fallback answers.
//!
//! Paying is by sample: the engine's clock meets the call that is under way when it ticks, and that
//! call pays for the time between two ticks ([`super::clock`]). A call of a thousandth of that time
//! is met once in a thousand times. So the calls that cost little, which is nearly all of them, are
//! not measured at all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::component::Plugin;
use super::history::PluginEventKind;
use super::untrusted::Untrusted;

/// What an account can gain at the most: the budget of so long a time.
const SECOND: Duration = Duration::from_secs(1);
/// Hundredths of a worker's time from which on the log warns.
const MUCH: u64 = 10;
/// All of a worker's time, in hundredths: such a budget is never used up.
const ALL: u32 = 100;

thread_local! {
    /// The accounts of this worker, by plugin.
    static ACCOUNTS: RefCell<HashMap<String, Weak<Account>>> = RefCell::default();
}

/// A plugin's account with one worker, for all upstreams that it balances and all its versions.
pub(super) struct Account {
    /// The version that was attached last.
    plugin: RefCell<Plugin>,
    /// When all that was paid will have been gained again. The plugin is in debt while that is more
    /// than a second away.
    balanced_at: Cell<Instant>,
    in_debt: Cell<bool>,
    /// Picks that were left to the fallback and are not in the statistics yet.
    left: Cell<u64>,
    second: Cell<Second>,
}

/// What the plugin took of the second that is measured.
#[derive(Clone, Copy)]
struct Second {
    began: Instant,
    taken: Duration,
}

impl Account {
    /// The account of a plugin with the worker whose thread this is.
    pub(super) fn of(plugin: &Plugin) -> Rc<Account> {
        ACCOUNTS.with_borrow_mut(|accounts| {
            accounts.retain(|_, account| account.strong_count() > 0);
            if let Some(account) = accounts.get(plugin.name()).and_then(Weak::upgrade) {
                account.flush();
                *account.plugin.borrow_mut() = plugin.clone();
                return account;
            }
            let now = Instant::now();
            let account = Rc::new(Account {
                plugin: RefCell::new(plugin.clone()),
                balanced_at: Cell::new(now),
                in_debt: Cell::new(false),
                left: Cell::new(0),
                second: Cell::new(Second {
                    began: now,
                    taken: Duration::ZERO,
                }),
            });
            accounts.insert(plugin.name().to_owned(), Rc::downgrade(&account));
            account
        })
    }

    /// Whether the plugin must wait, and the fallback answer a pick.
    #[inline]
    pub(super) fn is_in_debt(&self) -> bool {
        self.in_debt.get() && self.is_still_in_debt(Instant::now())
    }

    /// Whether it was so when that was last asked.
    pub(super) fn was_in_debt(&self) -> bool {
        self.in_debt.get()
    }

    #[cold]
    fn is_still_in_debt(&self, now: Instant) -> bool {
        let in_debt = self.balanced_at.get() > now + SECOND;
        self.in_debt.set(in_debt);
        match in_debt {
            true => self.left.set(self.left.get() + 1),
            false => self.flush(),
        }
        in_debt
    }

    /// A call took this long.
    #[inline]
    pub(super) fn pay(&self, time: Duration) {
        if !time.is_zero() {
            self.pay_at(Instant::now(), time);
        }
    }

    #[cold]
    fn pay_at(&self, now: Instant, time: Duration) {
        self.measure(now, time);
        let plugin = self.plugin.borrow();
        let budget = plugin.budget();
        if budget >= ALL {
            return;
        }
        let gained_in = time.saturating_mul(ALL) / budget.max(1);
        let balanced_at = self.balanced_at.get().max(now) + gained_in;
        self.balanced_at.set(balanced_at);
        if balanced_at > now + SECOND && !self.in_debt.replace(true) {
            self.tell_of_debt(&plugin, budget);
        }
    }

    fn tell_of_debt(&self, plugin: &Plugin, budget: u32) {
        let (name, version) = (plugin.name(), plugin.version());
        let why = format!(
            "has used up its budget of {budget}% of a worker's time: its fallback serves, or \
             `on_error` decides, until it has time again"
        );
        let event = Untrusted::message(&why);
        plugin
            .history()
            .note(version, PluginEventKind::OverBudget, event);
        if plugin.inner().stats.note_debt() {
            tracing::warn!(plugin = name, version, "plugin `{name}` {why}");
        }
    }

    /// Adds up what is taken in a second, and closes the second when it is over.
    fn measure(&self, now: Instant, time: Duration) {
        let mut second = self.second.get();
        let elapsed = now.saturating_duration_since(second.began);
        if elapsed >= SECOND {
            let percent = second.taken.as_micros() * 100 / elapsed.as_micros().max(1);
            let percent = u64::try_from(percent).unwrap_or(u64::MAX).min(100);
            let plugin = self.plugin.borrow();
            if plugin.inner().stats.note_share(percent, percent >= MUCH) {
                let (name, budget) = (plugin.name(), plugin.budget());
                tracing::warn!(
                    plugin = name,
                    "plugin `{name}` takes {percent}% of a worker's time; its `budget` is {budget}%"
                );
            }
            second = Second {
                began: now,
                taken: Duration::ZERO,
            };
        }
        second.taken += time;
        self.second.set(second);
    }

    fn flush(&self) {
        let plugin = self.plugin.borrow();
        plugin.inner().stats.add_left_to_fallback(self.left.take());
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.flush();
    }
}
