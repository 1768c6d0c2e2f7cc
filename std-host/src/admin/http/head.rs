//! The head of a request: where it ends, and what it asks for (RFC 9112).

/// The longest head, its empty line included.
pub(in crate::admin) const MAX_HEAD: usize = 8 << 10;
/// The most header lines.
const MAX_HEADERS: usize = 64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Request {
    pub(in crate::admin) method: Method,
    /// Without what follows a question mark.
    pub(in crate::admin) path: String,
    /// The connection is used again.
    pub(in crate::admin) keep_alive: bool,
}

/// What is to be done with the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Method {
    Get,
    Head,
    Other,
}

/// A head that is none: the status that it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Bad {
    /// 400
    Request,
    /// 431
    TooLarge,
    /// 505
    Version,
}

/// Reads the head at the beginning of `bytes`; its length comes with it. `looked` is where the search for its end goes on,
/// and is kept up to date, so that a head that comes byte by byte costs no more than one that comes at once.
pub(in crate::admin) fn parse(bytes: &[u8], looked: &mut usize) -> Result<Option<(Request, usize)>, Bad> {
    // Empty lines before a request are forgiven (RFC 9112, 2.2).
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let Some(end) = head_end(bytes, blank.max(*looked)) else {
        *looked = bytes.len().saturating_sub(2);
        return if bytes.len() >= MAX_HEAD { Err(Bad::TooLarge) } else { Ok(None) };
    };
    *looked = 0;
    if end > MAX_HEAD {
        return Err(Bad::TooLarge);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(&bytes[blank..end]) {
        Ok(httparse::Status::Complete(_)) => Ok(Some((request(&head)?, end))),
        Ok(httparse::Status::Partial) => Err(Bad::Request),
        Err(httparse::Error::TooManyHeaders) => Err(Bad::TooLarge),
        Err(httparse::Error::Version) => Err(Bad::Version),
        Err(_) => Err(Bad::Request),
    }
}

/// Where the empty line after the head ends.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let newlines = (from..bytes.len()).filter(|at| bytes[*at] == b'\n');
    newlines.map(|at| at + 1).find_map(|after| match bytes.get(after..)? {
        [b'\n', ..] => Some(after + 1),
        [b'\r', b'\n', ..] => Some(after + 2),
        _ => None,
    })
}

fn request(head: &httparse::Request<'_, '_>) -> Result<Request, Bad> {
    let values = |name: &'static str| {
        head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let is_new = head.version == Some(1);
    // RFC 9112, 3.2: one Host, and not without it since version 1.1.
    if values("host").count() > 1 || is_new && values("host").count() == 0 {
        return Err(Bad::Request);
    }
    let closes = values("connection").any(|value| {
        value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    // A body is not read, and so the next request cannot be found behind it.
    let has_body = values("transfer-encoding").count() > 0
        || values("content-length").any(|length| length.trim_ascii().iter().any(|digit| *digit != b'0'));
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    let target = head.path.unwrap_or_default();
    Ok(Request { method, path: path(target).to_owned(), keep_alive: is_new && !closes && !has_body })
}

/// The path of a target, which may be a whole address (RFC 9112, 3.2.2).
fn path(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let Some((_, behind)) = target.split_once("://").filter(|_| !target.starts_with('/')) else { return target };
    behind.find('/').map_or("/", |slash| &behind[slash..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Option<(Request, usize)>, Bad> {
        parse(text.as_bytes(), &mut 0)
    }

    fn asked(text: &str) -> (Method, String, bool) {
        let (request, len) = whole(text).unwrap().unwrap_or_else(|| panic!("{text:?} is whole"));
        assert_eq!(len, text.len());
        (request.method, request.path, request.keep_alive)
    }

    #[test]
    fn a_head_is_read_wherever_it_is_cut_and_no_byte_further() {
        let text = b"\r\nGET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\nGET /";
        let (mut looked, mut ends) = (0, Vec::new());
        for len in 0..=text.len() {
            if let Some((request, end)) = parse(&text[..len], &mut looked).unwrap() {
                assert_eq!(request, Request { method: Method::Get, path: "/metrics".to_owned(), keep_alive: true });
                ends.push((len, end));
            }
        }
        assert_eq!(ends.first(), Some(&(text.len() - 5, text.len() - 5)));
        assert!(ends.iter().all(|(_, end)| *end == text.len() - 5));
    }

    #[test]
    fn only_a_request_of_version_1_1_without_a_body_leaves_the_connection_open() {
        let get = |version, headers: &str| asked(&format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n")).2;
        assert!(get("1.1", ""));
        assert!(get("1.1", "Connection: keep-alive\r\nContent-Length: 0\r\n"));
        assert!(!get("1.0", "Connection: keep-alive\r\n"));
        for headers in ["connection: x, CLOSE\r\n", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert!(!get("1.1", headers), "{headers}");
        }
        assert!(!get("1.1", "Content-Length: 0\r\nContent-Length: 5\r\n"));
    }

    #[test]
    fn the_target_may_be_a_path_or_a_whole_address() {
        let path = |target: &str| asked(&format!("HEAD {target} HTTP/1.1\nHost: a\n\n")).1;
        assert_eq!(path("/status?a#b"), "/status");
        assert_eq!(path("http://a:9/metrics"), "/metrics");
        assert_eq!(path("http://a"), "/");
        assert_eq!(path("*"), "*");
        assert_eq!(path("/x://y/metrics"), "/x://y/metrics");
        assert_eq!(asked("POST / HTTP/1.1\r\nHost: a\r\n\r\n").0, Method::Other);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "\u{16}\u{3}\u{1}\u{2}\n\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "nonsense\n\n",
        ] {
            assert_eq!(whole(text), Err(Bad::Request), "{text:?}");
        }
        assert_eq!(whole("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), Err(Bad::Version));
    }

    #[test]
    fn a_head_has_a_bound() {
        let long = format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(MAX_HEAD));
        assert_eq!(whole(&long[..MAX_HEAD - 1]), Ok(None));
        assert_eq!(whole(&long[..MAX_HEAD]), Err(Bad::TooLarge));
        assert_eq!(whole(&format!("{long}\r\n\r\n")), Err(Bad::TooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "Host: a\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(whole(&many), Err(Bad::TooLarge));
        assert_eq!(whole(&"\r\n".repeat(MAX_HEAD)), Err(Bad::TooLarge));
    }
}
