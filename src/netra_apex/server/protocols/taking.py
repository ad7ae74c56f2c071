"""What clients of other protocols send besides text: names of their own, and files in their messages."""

from collections.abc import AsyncGenerator, Sequence

from netra_apex.core.belongings import NewFile
from netra_apex.core.files import HEAD_BYTES, check_taken, type_of
from netra_apex.core.ids import derived_id
from netra_apex.runtime import Runtime


async def keep_files(
    runtime: Runtime, user_id: str, thread_id: str, sent: tuple[str, Sequence[tuple[str, bytes]]]
) -> tuple[str, ...]:
    """The ids of files that came in a message, which are the thread's from now on; `sent` is its name and the files.

    The same message again keeps them once. A thread that is not there begins with them.

    Raises:
        Invalid, TooLarge, NotFound: one cannot be kept.
    """
    message, files = sent
    new: list[NewFile] = []
    for number, (name, content) in enumerate(files):
        media_type = check_taken(type_of(name, content[:HEAD_BYTES]), runtime.settings.upload_types)
        ident = derived_id("fil", "sent", user_id, thread_id, message, str(number))
        new.append(NewFile(file_id=ident, name=name, media_type=media_type))
    conversations, store = runtime.stores.conversations, runtime.stores.files
    if new and await conversations.thread(user_id, thread_id) is None:
        await conversations.add_thread(user_id, thread_id, "")
    for file, (_, content) in zip(new, files, strict=True):
        await store.add_file(user_id, thread_id, file, _pieces(content))
    return tuple(file.file_id for file in new)


async def _pieces(content: bytes) -> AsyncGenerator[bytes]:
    yield content
