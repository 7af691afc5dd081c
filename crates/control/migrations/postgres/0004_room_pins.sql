-- Tiles that operators set, for the present call; cleared when the room empties.
CREATE TABLE room_pins (
    room_id  BIGINT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    -- User part of the participant's address: who comes again after a crash has another id.
    number   TEXT   COLLATE "C" NOT NULL,
    -- -1: not shown.
    position BIGINT NOT NULL,
    PRIMARY KEY (room_id, number)
);
