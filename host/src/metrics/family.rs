//! What a family of figures is: its name, its kind, its labels.

/// A family, as Prometheus has the word: all samples of one name.
#[derive(Debug)]
pub(crate) struct Family {
    /// Without the suffix that its kind brings.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows. Samples end in `_total`.
    Counter,
    Gauge,
    Histogram,
    /// Always 1: what it says is in its labels. Samples end in `_info`.
    Info,
}

impl Kind {
    /// What samples have behind the family's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}

type Labels = &'static [&'static str];

impl Family {
    const fn new(kind: Kind, name: &'static str, labels: Labels, help: &'static str) -> Family {
        Family {
            name,
            kind,
            help,
            labels,
        }
    }

    pub(super) const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Family {
        Family::new(Kind::Counter, name, labels, help)
    }

    pub(super) const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Family {
        Family::new(Kind::Gauge, name, labels, help)
    }

    pub(super) const fn histogram(
        name: &'static str,
        labels: Labels,
        help: &'static str,
    ) -> Family {
        Family::new(Kind::Histogram, name, labels, help)
    }

    pub(super) const fn info(name: &'static str, labels: Labels, help: &'static str) -> Family {
        Family::new(Kind::Info, name, labels, help)
    }
}
