//! Contexts made from closures.

use super::handler::{AcceptFailed, Closed, ConnectFailed, Handler, Opened, PreOpen, RawSocket};
use super::{ClientHello, ListenerId, LoopMut, NameChoice, Socket};
use std::fmt;

/// The way to a [`Handler`] without writing one: [`Context::builder`].
#[derive(Debug)]
pub struct Context;

impl Context {
    /// A handler whose callbacks are closures; those that are not set do what the defaults of [`Handler`] do.
    ///
    /// ```
    /// use wharf_host::event_loop::{Context, ListenOptions, Loop};
    ///
    /// let mut lp = Loop::with_data(0_u64)?;
    /// let counter = Context::builder::<u64, ()>()
    ///     .on_data(|s, bytes| *s.loop_mut().data() += bytes.len() as u64)
    ///     .on_close(|lp, closed| println!("{:?}, {} bytes in all", closed.reason, lp.data()));
    /// let key = lp.loop_mut().context(counter);
    /// lp.loop_mut().listen("127.0.0.1:0".parse()?, key, ListenOptions::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn builder<T: 'static, D: Default + 'static>() -> ContextBuilder<T, D> {
        ContextBuilder {
            pre_open: None,
            server_name: None,
            open: None,
            data: None,
            readable: None,
            writable: None,
            drained: None,
            end: None,
            timeout: None,
            long_timeout: None,
            close: None,
            connect_error: None,
            accept_error: None,
        }
    }
}

type OnSocket<T, D> = Option<Box<dyn FnMut(&mut Socket<'_, T, D>)>>;

/// A [`Handler`] of closures: made by [`Context::builder`], given to [`LoopMut::context`].
#[expect(clippy::type_complexity, reason = "each type stands here once, beside the callback of the same name")]
pub struct ContextBuilder<T: 'static, D> {
    pre_open: Option<Box<dyn FnMut(&mut RawSocket<'_>) -> PreOpen>>,
    server_name: Option<Box<dyn FnMut(&ClientHello<'_>) -> NameChoice>>,
    open: Option<Box<dyn FnMut(&mut Socket<'_, T, D>, Opened)>>,
    data: Option<Box<dyn FnMut(&mut Socket<'_, T, D>, &[u8])>>,
    readable: OnSocket<T, D>,
    writable: OnSocket<T, D>,
    drained: OnSocket<T, D>,
    end: OnSocket<T, D>,
    timeout: OnSocket<T, D>,
    long_timeout: OnSocket<T, D>,
    close: Option<Box<dyn FnMut(&mut LoopMut<'_, T>, Closed<D>)>>,
    connect_error: Option<Box<dyn FnMut(&mut LoopMut<'_, T>, ConnectFailed<D>)>>,
    accept_error: Option<Box<dyn FnMut(&mut LoopMut<'_, T>, ListenerId, AcceptFailed)>>,
}

/// One setter per callback of [`Handler`].
macro_rules! setters {
    ($($name:ident sets $field:ident: ($($argument:ty),*) $(-> $answer:ty)?;)*) => {
        impl<T: 'static, D: Default + 'static> ContextBuilder<T, D> {
            $(
                #[doc = concat!("Sets [`Handler::", stringify!($field), "`].")]
                #[must_use]
                pub fn $name(mut self, f: impl FnMut($($argument),*) $(-> $answer)? + 'static) -> Self {
                    self.$field = Some(Box::new(f));
                    self
                }
            )*
        }
    };
}

setters! {
    on_pre_open sets pre_open: (&mut RawSocket<'_>) -> PreOpen;
    on_server_name sets server_name: (&ClientHello<'_>) -> NameChoice;
    on_open sets open: (&mut Socket<'_, T, D>, Opened);
    on_data sets data: (&mut Socket<'_, T, D>, &[u8]);
    on_writable sets writable: (&mut Socket<'_, T, D>);
    on_drained sets drained: (&mut Socket<'_, T, D>);
    on_end sets end: (&mut Socket<'_, T, D>);
    on_timeout sets timeout: (&mut Socket<'_, T, D>);
    on_long_timeout sets long_timeout: (&mut Socket<'_, T, D>);
    on_close sets close: (&mut LoopMut<'_, T>, Closed<D>);
    on_connect_error sets connect_error: (&mut LoopMut<'_, T>, ConnectFailed<D>);
    on_accept_error sets accept_error: (&mut LoopMut<'_, T>, ListenerId, AcceptFailed);
}

impl<T: 'static, D: Default + 'static> ContextBuilder<T, D> {
    /// Sets [`Handler::readable`], and with it [`Handler::manual_read`]: the sockets are read by hand.
    #[must_use]
    pub fn on_readable(mut self, f: impl FnMut(&mut Socket<'_, T, D>) + 'static) -> Self {
        self.readable = Some(Box::new(f));
        self
    }
}

impl<T: 'static, D: Default + 'static> Handler<T> for ContextBuilder<T, D> {
    type Data = D;

    fn manual_read(&self) -> bool {
        self.readable.is_some()
    }

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        self.pre_open.as_mut().map_or(PreOpen::Keep, |f| f(raw))
    }

    fn server_name(&mut self, hello: &ClientHello<'_>) -> NameChoice {
        self.server_name.as_mut().map_or(NameChoice::Default, |f| f(hello))
    }

    fn open(&mut self, s: &mut Socket<'_, T, D>, how: Opened) {
        if let Some(f) = &mut self.open {
            f(s, how);
        }
    }

    fn data(&mut self, s: &mut Socket<'_, T, D>, bytes: &[u8]) {
        if let Some(f) = &mut self.data {
            f(s, bytes);
        }
    }

    fn readable(&mut self, s: &mut Socket<'_, T, D>) {
        call(&mut self.readable, s);
    }

    fn writable(&mut self, s: &mut Socket<'_, T, D>) {
        call(&mut self.writable, s);
    }

    fn drained(&mut self, s: &mut Socket<'_, T, D>) {
        call(&mut self.drained, s);
    }

    fn end(&mut self, s: &mut Socket<'_, T, D>) {
        match &mut self.end {
            Some(f) => f(s),
            None => super::handler::finish_at_the_end(s),
        }
    }

    fn timeout(&mut self, s: &mut Socket<'_, T, D>) {
        call(&mut self.timeout, s);
    }

    fn long_timeout(&mut self, s: &mut Socket<'_, T, D>) {
        call(&mut self.long_timeout, s);
    }

    fn close(&mut self, lp: &mut LoopMut<'_, T>, closed: Closed<D>) {
        if let Some(f) = &mut self.close {
            f(lp, closed);
        }
    }

    fn connect_error(&mut self, lp: &mut LoopMut<'_, T>, failed: ConnectFailed<D>) {
        if let Some(f) = &mut self.connect_error {
            f(lp, failed);
        }
    }

    fn accept_error(&mut self, lp: &mut LoopMut<'_, T>, id: ListenerId, failed: AcceptFailed) {
        if let Some(f) = &mut self.accept_error {
            f(lp, id, failed);
        }
    }
}

fn call<T, D>(f: &mut OnSocket<T, D>, s: &mut Socket<'_, T, D>) {
    if let Some(f) = f {
        f(s);
    }
}

impl<T, D> fmt::Debug for ContextBuilder<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextBuilder").finish_non_exhaustive()
    }
}
