//! Blocks on their way from the disk to whoever waits, or on to the server.

use super::super::key::BlockKey;
use super::super::queue::DiskPlace;
use super::Flights;

impl Flights {
    /// A block was not had from the disk: it is asked of the server, if anybody still wants it.
    pub(in super::super) fn ask_server(&mut self, key: &BlockKey) {
        self.take_off(key);
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.keep_live_waiters(&self.reads) {
            flight.place = Some(self.queue.demand(*key));
        } else if flight.was_ahead {
            flight.place = Some(self.queue.ahead(*key));
        } else {
            self.flights.remove(key);
        }
    }

    /// A block is on disk: it is read from there, if anybody still wants it.
    pub(in super::super) fn found_on_disk(&mut self, key: &BlockKey) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.keep_live_waiters(&self.reads) {
            flight.place = Some(self.queue.seek(*key, DiskPlace::Found));
        } else if flight.was_ahead {
            flight.place = Some(self.queue.seek(*key, DiskPlace::FoundAhead));
        } else {
            self.flights.remove(key);
        }
    }
}
