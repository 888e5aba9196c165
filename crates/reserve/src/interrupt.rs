//! Where an NMI hurts most: between the look at a list and the exchange that changes it.
//!
//! Test builds may have something happen there; other builds have nothing.

/// The place.
#[cfg(not(any(test, loom)))]
#[inline(always)]
pub(crate) fn here() {}

#[cfg(any(test, loom))]
pub use armed::at;
#[cfg(any(test, loom))]
pub(crate) use armed::here;

#[cfg(any(test, loom))]
mod armed {
    extern crate std;
    use std::boxed::Box;
    use std::cell::RefCell;

    type Handler = Box<dyn FnOnce()>;

    // Loom's threads share one thread of the machine, so it has locals of its own.
    #[cfg(loom)]
    use loom::thread_local;
    #[cfg(not(loom))]
    use std::thread_local;

    thread_local! {
        /// Places to pass before it strikes, and what it does.
        static ARMED: RefCell<Option<(u32, Handler)>> = RefCell::new(None);
    }

    /// The place: runs what is armed, once, when its turn has come.
    pub fn here() {
        let due = ARMED.with(|armed| {
            let mut armed = armed.borrow_mut();
            match armed.as_mut() {
                Some((0, _)) => armed.take().map(|(_, handler)| handler),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        });
        if let Some(handler) = due {
            handler();
        }
    }

    /// Lets `handler` interrupt this thread after it has passed `skip` places.
    pub fn at(skip: u32, handler: impl FnOnce() + 'static) {
        ARMED.with(|armed| *armed.borrow_mut() = Some((skip, Box::new(handler))));
    }
}
