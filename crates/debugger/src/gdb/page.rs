//! Where a session prints that nobody sits at: a page that is read and emptied.

use crate::session::Console;
use std::cell::RefCell;
use std::rc::Rc;

/// The page; its copies are the same one.
#[derive(Clone, Debug, Default)]
pub struct Page(Rc<RefCell<String>>);

impl Page {
    /// What was printed since the last time.
    #[must_use]
    pub fn take(&self) -> String {
        self.0.take()
    }
}

impl Console for Page {
    fn print(&mut self, text: &str) {
        let mut page = self.0.borrow_mut();
        page.push_str(text);
        page.push('\n');
    }
}
