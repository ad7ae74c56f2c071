"""What a model is shown of files: those that came with the run's message, and pictures with their bytes."""

from collections.abc import Sequence

from msgspec.structs import replace

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.messages import Image, ModelMessage, UserMessage
from netra_apex.engine.lent import Lent
from netra_apex.errors import NotFound


async def with_files(
    messages: Sequence[ModelMessage], context: UserExecutionContext, lent: Lent
) -> tuple[ModelMessage, ...]:
    """The messages as the model gets them.

    Put in just before the request and kept nowhere: agents, journal and transcript know a picture by its file's id.
    """
    told = _with_attachments(messages, lent)
    left = lent.belongings.image_bytes
    # From the end: where not all pictures have room, the latest do.
    for place in range(len(told) - 1, -1, -1):
        message = told[place]
        if isinstance(message, UserMessage) and message.images:
            told[place], left = await _seen(message, context, lent, left)
    return tuple(told)


def _with_attachments(messages: Sequence[ModelMessage], lent: Lent) -> list[ModelMessage]:
    """Where the agent's messages have the run's own, it is told with the files that came along."""
    told = list(messages)
    if lent.asked.files:
        plain = UserMessage(lent.asked.task)
        # The last one that says so: the same may have been said in the thread before, without them.
        place = next((place for place in range(len(told) - 1, -1, -1) if told[place] == plain), None)
        if place is not None:
            told[place] = lent.asked.told
    return told


async def _seen(message: UserMessage, context: UserExecutionContext, lent: Lent, left: int) -> tuple[UserMessage, int]:
    """A message with its pictures' bytes, as far as there is room for them, and how much room is left."""
    images: list[Image] = []
    content = message.content
    for image in message.images:
        data = image.data or await _read(image.file_id, context, lent, left)
        if data is None:
            content += f"\n(The picture {image.file_id} is not there any more.)"
        elif not data or len(data) > left:
            content += f"\n(The picture {image.file_id} is not shown: it is too large beside the others.)"
        else:
            left -= len(data)
            images.append(Image(image.media_type, data))
    return replace(message, content=content, images=tuple(images)), left


async def _read(file_id: str, context: UserExecutionContext, lent: Lent, left: int) -> bytes | None:
    """A picture's bytes; none of them where it has no room, and None where it is gone."""
    files = lent.belongings.files
    file = await files.file(context.user_id, context.thread_id, file_id)
    if file is None:
        return None
    if file.size > left:
        return b""
    try:
        return b"".join([piece async for piece in files.read_file(context.user_id, context.thread_id, file_id)])
    except NotFound:
        return None
