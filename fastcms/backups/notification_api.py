"""Routes of notification."""

from fastapi import APIRouter

router = APIRouter()
