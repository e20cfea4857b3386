// A component that answers requests, as the pages of ComponentizeJS begin with one.
addEventListener('fetch', (event) =>
  event.respondWith(
    (async () => {
      return new Response('Hello World');
    })(),
  ),
);
