//! The model's names of globals: a list that grows.

use super::{Answered, Root};
use abi::code;
use abi::request;
use abi::request::global::{Add, Ask, Globals, ROWS_MAX};
use zerocopy::{FromZeros, IntoBytes};

impl Root {
    fn behind(&self, ask: Ask) -> Result<usize, (u32, Vec<u8>)> {
        let known = usize::try_from(ask.known).unwrap_or(usize::MAX);
        if ask.boot_id == self.boot_id && known <= self.globals.len() {
            Ok(known)
        } else {
            Err((code::GLOBALS_CHANGED, Vec::new()))
        }
    }

    pub(super) fn globals(&self, body: &[u8]) -> Answered {
        let known = self.behind(request::body(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?)?;
        let mut answer = Globals::new_zeroed();
        for (to, row) in answer.rows.iter_mut().zip(&self.globals[known..]) {
            *to = *row;
            answer.count += 1;
        }
        answer.more = (self.globals.len() - known > ROWS_MAX).into();
        Ok(answer.as_bytes().to_vec())
    }

    pub(super) fn global_add(&mut self, body: &[u8]) -> Answered {
        let Add { ask, row } = request::body(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
        self.globals.extend(self.global_meanwhile.take());
        if self.behind(ask)? < self.globals.len() {
            return Err((code::GLOBALS_CHANGED, Vec::new()));
        }
        self.globals.push(row);
        Ok(Vec::new())
    }
}
