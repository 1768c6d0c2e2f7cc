//! Signals as callbacks on the loop.

/// A signal that can be watched by [`LoopMut::on_signal`](super::LoopMut::on_signal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGHUP: by custom, read the configuration again.
    Hangup,
    /// SIGINT: the terminal's interrupt key.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTERM: a request to end.
    Terminate,
    /// SIGCHLD: a child has changed its state.
    Child,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGWINCH: the terminal's size has changed.
    WindowChange,
}

impl Signal {
    /// The system's number of the signal.
    #[must_use]
    pub const fn number(self) -> i32 {
        use signal_hook::consts::signal;
        match self {
            Self::Hangup => signal::SIGHUP,
            Self::Interrupt => signal::SIGINT,
            Self::Quit => signal::SIGQUIT,
            Self::Terminate => signal::SIGTERM,
            Self::Child => signal::SIGCHLD,
            Self::User1 => signal::SIGUSR1,
            Self::User2 => signal::SIGUSR2,
            Self::WindowChange => signal::SIGWINCH,
        }
    }
}
