//! A core in its execution view, and out of it.
//!
//! **Callers**: `core`, for [`crate::arch::Core`]; `step` chooses among the views.

use super::core::Svm;

impl Svm {
    /// See [`crate::arch::Core::execute`].
    pub(super) fn execute_page(&mut self, pfn: u64, shown: u64) -> bool {
        let guarded = self.step.guarded_root();
        let shows = guarded.is_some_and(|root| self.step.executed.aim(root, pfn, shown));
        self.step.executed.on = shows;
        self.change_view();
        shows
    }

    /// See [`crate::arch::Core::execute_all`].
    pub(super) fn leave_page(&mut self) {
        if self.step.executed.on {
            self.step.executed.on = false;
            self.change_view();
        }
    }

    /// X2.
    pub(super) fn forget_page(&mut self) {
        self.step.executed.forget();
        self.leave_page();
    }
}
