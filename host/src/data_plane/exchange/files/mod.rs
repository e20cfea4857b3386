//! Answers with the files of a directory.
//!
//! A file is opened by a thread that may wait, unless the worker has had it open a moment ago; then
//! what the request asks of it is decided (its conditions, its ranges), and it is sent as the client
//! takes it.

mod body; // its bytes, piece by piece
mod direct; // its bytes, sent by the kernel
mod negotiation; // which coding of it
mod answer; // all of it, parts of it, or that there is nothing new

pub(super) use answer::method_not_allowed;
pub(super) use body::{FileBody, FileFailure};

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::admit::Admitted;
use super::fault::Fault;
use super::local;
use super::rest::Delivered;
use super::state::Exchange;
use super::wait;
use crate::config::model::{FileFallback, Files, PathPattern, Route};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::open_files::{FileKey, HeldFile};
use crate::data_plane::process::FileDescriptor;
use crate::data_plane::stream::Alarm;
use crate::data_plane::upstream::DescriptorSource;
use crate::data_plane::worker_config::WorkerConfig;
use crate::files::{self, Found, NotServed};

/// What became of a request for a file.
pub(super) enum Served {
    Delivered(Delivered),
    /// It is a directory: the client is to be sent to it with a slash at its end.
    LacksSlash,
    /// There is none, and the route of this index has the answer.
    Route(usize),
}

/// Answers with a file.
///
/// # Errors
/// A [`Fault`] where nothing was sent yet.
pub(super) async fn serve(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Rc<Exchange>,
    (route, site): (&Route, &Arc<Files>),
    admitted: &Admitted,
    request_body: &mut BodyPipe,
) -> Result<Served, Fault> {
    let gets_files =
        exchange.in_place_of_error.get() || matches!(exchange.request.method(), b"GET" | b"HEAD");
    // Another route may have the answer to what is no file.
    if !gets_files && !matches!(site.fallback, FileFallback::Route(_)) {
        return Err(method_not_allowed());
    }
    let Some((path, asks_for_directory)) = below_root(exchange, route, site, admitted) else {
        return missing(session, worker_config, site, "no file has this name".into());
    };
    let accepted = negotiation::accepted(exchange.request.fields(), &site.precompressed);
    let key = FileKey {
        files: site,
        path,
        asks_for_directory,
        accepted: &accepted,
    };
    let now = Instant::now();
    if let Some(file) = session
        .worker
        .open_files
        .get(&key, now)
        .filter(|_| gets_files)
    {
        return answer::with_file(session, exchange, site, file, request_body).await;
    }
    match find(session, &key).await? {
        Ok(_) if !gets_files => Err(method_not_allowed()),
        Ok((Found::File(file), descriptor)) => {
            let file = Rc::new(HeldFile::new(file, descriptor));
            session.worker.open_files.keep(&key, now, &file);
            answer::with_file(session, exchange, site, file, request_body).await
        }
        Ok((Found::Directory, _)) => Ok(Served::LacksSlash),
        Ok((Found::Listing(text, content_type), _)) => {
            let answer = local::LocalAnswer {
                status: 200,
                content_type,
                body: &text,
                location: b"",
                keep: true,
            };
            let sent = local::send_local(session, exchange, Some(request_body), &answer);
            Ok(Served::Delivered(sent.await))
        }
        Err(why @ NotServed::NotThere(..)) => {
            missing(session, worker_config, site, why.to_string())
        }
        Err(why @ NotServed::Forbidden(_, files::Reason::NoIndex))
            if matches!(site.fallback, FileFallback::Route(_)) =>
        {
            missing(session, worker_config, site, why.to_string())
        }
        Err(why @ NotServed::Forbidden(..)) => Err(Fault::of_file(403, &why)),
        Err(why @ NotServed::Failed(..)) => Err(Fault::of_file(500, &why)),
        Err(why @ NotServed::NoRoom(..)) => Err(Fault::of_file(503, &why)),
    }
}

/// What a request gets for which there is no file; a fallback that is a file was looked for.
fn missing(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    site: &Files,
    why: String,
) -> Result<Served, Fault> {
    match &site.fallback {
        FileFallback::Route(name) => {
            let router = &worker_config.snapshot.routers[session.listener];
            let route = router.named(name).ok_or(Fault::NoSuchRoute)?;
            Ok(Served::Route(route))
        }
        FileFallback::Status(status) => Err(Fault::of_file(*status, &why)),
        FileFallback::File(_) => Err(Fault::of_file(404, &why)),
    }
}

/// Finds and opens a file, on a thread that may wait.
///
/// # Errors
/// A [`Fault`]: that cannot be done now, or not in time, or the client left meanwhile.
async fn find(
    session: &mut Session<'_>,
    key: &FileKey<'_>,
) -> Result<Result<(Found, FileDescriptor), NotServed>, Fault> {
    let descriptor = descriptor(session)?;
    let (site, accepted) = (key.files.clone(), key.accepted.to_vec());
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(key.path));
    let asks_for_directory = key.asks_for_directory;
    let work = move || {
        let found = files::find(&site, &path, asks_for_directory, &accepted);
        found.map(|found| (found, descriptor))
    };
    let overloaded = |why| Fault::of_file(503, &why);
    let answer = files::run(&key.files.root, work).map_err(overloaded)?;
    let timeout = key.files.timeout;
    let mut alarm = Alarm::default();
    let found = wait::watched(session, alarm.within(timeout, answer)).await?;
    let found = found.map_err(|_| {
        let why = format!("a file could not be opened within {timeout:?}");
        Fault::of_file(504, &why)
    })?;
    found.map_err(|_| Fault::of_file(500, &"work on a file broke"))
}

/// One that a file may have.
fn descriptor(session: &Session<'_>) -> Result<FileDescriptor, Fault> {
    let worker = session.worker;
    let take = || worker.process.take_file();
    let taken = take().or_else(|| {
        worker.open_files.clear();
        take()
    });
    let taken = taken.or_else(|| {
        worker.make_room();
        take()
    });
    taken.ok_or_else(|| Fault::of_file(503, &"no descriptor is left for a file"))
}

/// What is looked for below the root, without a slash at its beginning, and whether that is to be a
/// directory. None where the route's path goes on in the middle of a name: `/static` is not the
/// beginning of `/statics`. Where one file is the answer to all, the path does not matter.
fn below_root<'a>(
    exchange: &'a Exchange,
    route: &Route,
    site: &Files,
    admitted: &Admitted,
) -> Option<(&'a [u8], bool)> {
    if site.file.is_some() {
        return Some((&[], false));
    }
    let path = exchange.normalised();
    let matched = match (&route.path, admitted.matched) {
        (_, None) | (PathPattern::Regex(_), _) => 0,
        _ if !site.strip_prefix => 0,
        // The directory that it is in, and so the last name is looked for.
        (PathPattern::Exact(_), Some(_)) => memchr::memrchr(b'/', path).unwrap_or(0),
        (_, Some(matched)) => matched,
    };
    let ends_in_slash = path.ends_with(b"/");
    match path.get(matched..)? {
        // All of it was matched.
        [] => Some((&[], ends_in_slash)),
        [b'/', rest @ ..] => Some((rest, ends_in_slash)),
        rest if path[..matched].ends_with(b"/") => Some((rest, ends_in_slash)),
        _ => None,
    }
}
