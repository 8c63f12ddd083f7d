"""Routes of status."""

from fastapi import APIRouter

router = APIRouter()
