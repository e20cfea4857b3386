//! Texts that values are made by: of many entries, most say one of few.

use std::collections::HashMap;

use crate::http::template::Template;

/// Texts for values, of which many are alike.
#[derive(Default)]
pub struct Values {
    templates: Vec<Template>,
    by_text: HashMap<Box<str>, u32>,
}

impl Values {
    /// Where a text is that is there already.
    pub fn known(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// Adds a template of a text. It is found by that text again, unless it is made of what one
    /// regex has captured.
    pub fn add(&mut self, text: &str, template: Template) -> u32 {
        let index = self.templates.len() as u32;
        if !template.has_captures() {
            self.by_text.insert(text.into(), index);
        }
        self.templates.push(template);
        index
    }

    pub(super) fn get(&self, index: u32) -> Option<&Template> {
        self.templates.get(index as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter()
    }
}
