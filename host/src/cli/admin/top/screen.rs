//! What is to be seen, and what keys change about it. Nothing here knows a terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::shown::{Shown, harmless};
use super::table::{Layout, Row, View, Wanted, rows};

/// Lines above and below the table.
pub(super) const HEAD: usize = 5;
pub(super) const FOOT: usize = 1;
/// Letters of a filter.
const FILTER: usize = 64;

/// Why what is shown is old.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    /// When there was no answer for the first time, by this machine's clock.
    pub(super) since: String,
    pub(super) seconds: u64,
    /// In the words of the command.
    pub(super) why: String,
}

/// Of one view.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    sort: Option<usize>,
    /// Lines of the table above the first that is seen.
    offset: usize,
}

pub(super) struct Screen {
    pub(super) shown: Shown,
    /// Seconds since it was told.
    pub(super) age: u64,
    pub(super) lost: Option<Lost>,
    /// Otherwise nothing has a colour.
    pub(super) has_colours: bool,
    pub(super) is_paused: bool,
    pub(super) shows_keys: bool,
    pub(super) view: View,
    pub(super) filter: String,
    /// Letters go into the filter.
    pub(super) is_typing: bool,
    is_reverse: bool,
    places: [Place; View::ALL.len()],
    /// Columns and lines of the terminal.
    pub(super) size: (u16, u16),
}

/// What a key wants that is not the screen's to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Leave,
    /// To look at once.
    Look,
}

impl Screen {
    pub(super) fn new(shown: Shown, has_colours: bool, size: (u16, u16)) -> Screen {
        Screen {
            shown,
            age: 0,
            lost: None,
            has_colours,
            is_paused: false,
            shows_keys: false,
            view: View::Upstreams,
            filter: String::new(),
            is_typing: false,
            is_reverse: false,
            places: Default::default(),
            size,
        }
    }

    fn place(&self) -> Place {
        self.places[self.view as usize]
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.places[self.view as usize]
    }

    /// The column that lines are sorted by; none where they stand as they are told.
    pub(super) fn sort(&self) -> Option<usize> {
        self.place().sort
    }

    pub(super) fn sorted_by(&self) -> String {
        let by = match self.sort() {
            Some(column) => self.view.columns()[column].head.to_lowercase(),
            None => "as told".to_owned(),
        };
        let reverse = if self.is_reverse { ", reversed" } else { "" };
        format!("{by}{reverse}")
    }

    /// The lines that are asked for, and how they are laid out in this many columns.
    pub(super) fn table(&self, columns: usize) -> (Vec<Row>, Layout) {
        let wanted = Wanted {
            filter: &self.filter,
            sort: self.sort(),
            is_reverse: self.is_reverse,
        };
        let rows = rows(self.view, &self.shown, &wanted);
        let layout = Layout::of(self.view, &rows, columns);
        (rows, layout)
    }

    /// The first line of the table that is seen, of so many, where there is room for some.
    pub(super) fn first(&self, lines: usize, room: usize) -> usize {
        self.place().offset.min(lines.saturating_sub(room))
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if has_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Wish::Leave;
        }
        if self.is_typing {
            self.type_in(key.code, has_control);
            return Wish::Nothing;
        }
        if has_control {
            return Wish::Nothing;
        }
        let page = self.page();
        let was_shown = std::mem::take(&mut self.shows_keys);
        match key.code {
            KeyCode::Char('q') => return Wish::Leave,
            KeyCode::Esc if !was_shown => return Wish::Leave,
            KeyCode::Char('?' | 'h') => self.shows_keys = !was_shown,
            KeyCode::Char(digit @ '1'..='4') => {
                self.view = View::ALL[(digit as usize) - ('1' as usize)];
            }
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(View::ALL.len() - 1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::PageUp => self.scroll(-page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll(page),
            KeyCode::Home | KeyCode::Char('g') => self.place_mut().offset = 0,
            KeyCode::End | KeyCode::Char('G') => self.scroll(isize::MAX),
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Char('r') => self.is_reverse = !self.is_reverse,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('p') => {
                self.is_paused = !self.is_paused;
                if !self.is_paused {
                    return Wish::Look;
                }
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn type_in(&mut self, code: KeyCode, has_control: bool) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.is_typing = false;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if has_control => self.filter.clear(),
            KeyCode::Char(letter) if !has_control && self.filter.chars().count() < FILTER => {
                self.filter += &harmless(letter.encode_utf8(&mut [0; 4]));
            }
            _ => return,
        }
        self.place_mut().offset = 0;
    }

    fn turn(&mut self, by: usize) {
        self.view = View::ALL[(self.view as usize + by) % View::ALL.len()];
    }

    fn sort_by_next(&mut self) {
        let columns = self.view.columns().len();
        let place = self.place_mut();
        place.sort = match place.sort {
            None => Some(0),
            Some(column) => Some(column + 1).filter(|next| *next < columns),
        };
        place.offset = 0;
    }

    /// Lines that there is room for in the table.
    fn room(&self) -> usize {
        usize::from(self.size.1).saturating_sub(HEAD + FOOT)
    }

    fn page(&self) -> isize {
        isize::try_from(self.room().max(1)).unwrap_or(isize::MAX)
    }

    fn scroll(&mut self, lines: isize) {
        let (rows, layout) = self.table(self.size.0.into());
        let all: usize = rows.iter().map(|row| layout.height(row)).sum();
        let room = self.room();
        let first = self.first(all, room);
        let most = all.saturating_sub(room);
        self.place_mut().offset = first.saturating_add_signed(lines).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        Screen::new(Shown::default(), false, (80, 24))
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Wish {
        screen.press(KeyEvent::from(code))
    }

    #[test]
    fn q_escape_and_control_c_leave_and_letters_of_a_filter_do_not() {
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut screen(), code), Wish::Leave);
        }
        let mut screen = screen();
        assert_eq!(screen.press(control_c), Wish::Leave);
        press(&mut screen, KeyCode::Char('/'));
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Wish::Nothing);
        assert_eq!(screen.press(control_c), Wish::Leave);
        assert_eq!(screen.filter, "q");
        assert_eq!(press(&mut screen, KeyCode::Esc), Wish::Nothing);
        assert_eq!((&*screen.filter, screen.is_typing), ("", false));
    }

    #[test]
    fn a_filter_is_bounded_and_what_is_typed_is_harmless() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Char('/'));
        press(&mut screen, KeyCode::Char('\u{202e}'));
        for _ in 0..2 * FILTER {
            press(&mut screen, KeyCode::Char('ä'));
        }
        assert_eq!(screen.filter.chars().count(), FILTER);
        assert!(screen.filter.starts_with('\u{fffd}'));
        press(&mut screen, KeyCode::Backspace);
        assert_eq!(screen.filter.chars().count(), FILTER - 1);
        press(&mut screen, KeyCode::Enter);
        assert!(!screen.is_typing);
    }

    #[test]
    fn tab_goes_round_all_views_and_each_is_sorted_by_a_column_of_its_own() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Char('s'));
        assert_eq!(screen.sorted_by(), "server");
        for view in [View::Plugins, View::Hooks, View::Events, View::Upstreams] {
            press(&mut screen, KeyCode::Tab);
            assert_eq!(screen.view, view);
        }
        press(&mut screen, KeyCode::BackTab);
        assert_eq!(screen.view, View::Events);
        assert_eq!(screen.sorted_by(), "as told");
        for expected in ["last", "level", "count", "as told"] {
            press(&mut screen, KeyCode::Char('s'));
            assert_eq!(screen.sorted_by(), expected);
        }
    }

    #[test]
    fn the_end_of_a_pause_looks_at_once_and_keys_are_shown_until_the_next_one() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, KeyCode::Char('p')), Wish::Nothing);
        assert!(screen.is_paused);
        assert_eq!(press(&mut screen, KeyCode::Char('p')), Wish::Look);
        press(&mut screen, KeyCode::Char('?'));
        assert!(screen.shows_keys);
        assert_eq!(press(&mut screen, KeyCode::Esc), Wish::Nothing);
        assert!(!screen.shows_keys);
    }
}
