//! Files that nearly every machine with nginx has, for configurations that are read elsewhere.
//!
//! Only what is the same wherever it is packaged; a file that is there is read, not this.

/// The content of the file that an `include` names, if it is one of these.
pub(super) fn file(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    Some(match name {
        "mime.types" => MIME_TYPES,
        "proxy_params" => PROXY_PARAMS,
        "options-ssl-nginx.conf" => CERTBOT,
        // They say what FastCGI and its like are told, which is nothing without a `fastcgi_pass`.
        "fastcgi_params" | "fastcgi.conf" | "uwsgi_params" | "scgi_params" => "",
        _ => return None,
    })
}

/// Of Debian's package.
const PROXY_PARAMS: &str = "\
proxy_set_header Host $http_host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
";

/// Of certbot.
const CERTBOT: &str = "\
ssl_session_cache shared:le_nginx_SSL:10m;
ssl_session_timeout 1440m;
ssl_session_tickets off;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_prefer_server_ciphers off;
ssl_ciphers \"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384\";
";

/// What texts that are answered at a fixed path are likely to be.
const MIME_TYPES: &str = "\
types {
    text/html html htm shtml;
    text/css css;
    text/xml xml;
    image/gif gif;
    image/jpeg jpeg jpg;
    application/javascript js;
    text/plain txt;
    image/png png;
    image/svg+xml svg svgz;
    image/x-icon ico;
    application/json json;
    application/pdf pdf;
}
";
